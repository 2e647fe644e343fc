// Streams, memory checks, and the entry points by which tests set up the simulation and read its reports.
#include "device.h"
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace sim {

World& world() {
    static World* one = new World;
    return *one;
}

std::array<unsigned char, 16> Device::uuid() const {
    std::array<unsigned char, 16> bytes;
    memcpy(bytes.data(), "simulated GPU  ", 15);
    bytes[15] = static_cast<unsigned char>(physical);
    return bytes;
}

Stream::Stream(uint64_t seed, int place) : place(place), random(seed), delays(seed * 31 + 7), thread([this] { work(); }) {}

Stream::~Stream() {
    { std::lock_guard<std::mutex> lock(mutex); stop = true; }
    changed.notify_all();
    thread.join();
}

void Stream::put(std::function<void()> task) {
    { std::lock_guard<std::mutex> lock(mutex); tasks.push_back(std::move(task)); }
    changed.notify_all();
}

void Stream::drain() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return tasks.empty() && !busy; });
}

bool Stream::drain(int millis) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::milliseconds(millis), [&] { return tasks.empty() && !busy; });
}

bool Stream::idle() {
    std::lock_guard<std::mutex> lock(mutex);
    return tasks.empty() && !busy;
}

void Stream::work() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
        changed.wait(lock, [&] { return stop || !tasks.empty(); });
        if (tasks.empty()) return;
        auto task = std::move(tasks.front());
        tasks.pop_front();
        busy = true;
        lock.unlock();
        if (int most = world().delayMicros) std::this_thread::sleep_for(std::chrono::microseconds(delays() % most));
        if (place == world().slowPlace) std::this_thread::sleep_for(std::chrono::microseconds(world().slowMicros));
        task();
        lock.lock();
        busy = false;
        if (tasks.empty()) changed.notify_all();
    }
}

void Recorded::reach() {
    { std::lock_guard<std::mutex> lock(mutex); reached = true; at = std::chrono::steady_clock::now(); }
    changed.notify_all();
}

void Recorded::await() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return reached; });
}

bool Recorded::isReached() {
    std::lock_guard<std::mutex> lock(mutex);
    return reached;
}

bool allocatedOn(Device& device, uint64_t address, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(device.mutex);
    auto after = device.blocks.upper_bound(address);
    if (after == device.blocks.begin()) return false;
    auto block = std::prev(after);
    return address + bytes <= block->first + block->second;
}

bool allocated(uint64_t address, uint64_t bytes) {
    for (Device* device : world().devices) {
        if (allocatedOn(*device, address, bytes)) return true;
    }
    return world().hostMemoryToo;
}

void drain(Device& device) {
    std::set<Stream*> streams;
    { std::lock_guard<std::mutex> lock(device.mutex); streams = device.streams; }
    for (Stream* stream : streams) {
        const Clock clock = clockOf(*stream);
        stream->drain();
        hostKnows(clock);
    }
}

static bool holds(uint64_t from, uint64_t bytes, unsigned char value) {
    auto* p = reinterpret_cast<const unsigned char*>(from);
    for (uint64_t i = 0; i < bytes; i++) if (p[i] != value) return false;
    return true;
}

void checkRedZones(Device& device, uint64_t address, uint64_t bytes) {
    const std::string block = "a block of " + std::to_string(bytes) + " bytes of device " + std::to_string(device.index);
    if (!holds(address - RED_ZONE, RED_ZONE, RED)) world().report("red zone: written before " + block);
    if (!holds(address + bytes, RED_ZONE, RED)) world().report("red zone: written behind " + block);
}

void checkFreed(Device& device) {
    for (auto& [address, bytes] : device.freed) {
        if (!holds(address, bytes, FREED)) world().report("use after free: written to a freed block of " + std::to_string(bytes) + " bytes");
    }
}

void (*heldByOthers)() = [] {};

void addDevices(int devices, uint64_t bytes) {
    World& w = world();
    while (int(w.devices.size()) < devices) {
        auto* device = new Device;
        device->index = device->physical = int(w.devices.size());
        w.devices.push_back(device);
    }
    for (Device* device : w.devices) device->limit = bytes;
}

/** All that is wrong in the end; then everything is given back. */
static void finish() {
    heldByOthers();
    for (Device* device : world().devices) {
        drain(*device);
        for (auto stream = device->streams.begin(); stream != device->streams.end();) {
            if (!(*stream)->destroyed) { ++stream; continue; }
            delete *stream;
            stream = device->streams.erase(stream);
        }
        for (auto& [address, bytes] : device->blocks) {
            checkRedZones(*device, address, bytes);
            world().report("leak: " + std::to_string(bytes) + " bytes of device " + std::to_string(device->index));
            free(reinterpret_cast<void*>(address - RED_ZONE));
        }
        checkFreed(*device);
        for (auto& [address, bytes] : device->freed) free(reinterpret_cast<void*>(address - RED_ZONE));
        device->blocks.clear();
        device->freed.clear();
        device->used = device->peak = 0;
        device->error = 0;
    }
    forgetAccesses();
    for (auto& [block, bytes] : world().freedHost) {
        if (!holds(reinterpret_cast<uint64_t>(block), bytes, FREED)) world().report("use after free: written to freed page-locked memory");
        free(block);
    }
    world().freedHost.clear();
}
}  // namespace sim

using namespace sim;
#define ENTRY(type, name) extern "C" __attribute__((visibility("default"))) type Java_org_shardloom_kernels_cuda_SimulatedDriver_##name
typedef int64_t Long;

/** Devices and their memory; the streams' seed and longest delay. Devices that there are already keep their context. */
ENTRY(void, configure)(void*, void*, int devices, Long bytes, Long seed, int delayMicros) {
    World& w = world();
    finish();
    w.reports.clear();
    addDevices(devices, bytes);
    w.seed = seed;
    w.delayMicros = delayMicros;
    w.allocationsUntilFailure = 0;
    w.launchesUntilFailure = 0;
    w.allocations = w.pageableCopies = 0;
    for (Device* device : w.devices) {
        device->waits = 0;
        device->pinnedPeak = device->pinned;
    }
}
ENTRY(Long, allocations)(void*, void*) { return world().allocations; }
ENTRY(Long, pageableCopies)(void*, void*) { return world().pageableCopies; }
ENTRY(Long, deviceWaits)(void*, void*, int device) { return world().devices.at(device)->waits; }
ENTRY(Long, peakBytes)(void*, void*, int device) { return world().devices.at(device)->peak; }
ENTRY(Long, pinnedPeakBytes)(void*, void*, int device) { return world().devices.at(device)->pinnedPeak; }
ENTRY(void, failAllocation)(void*, void*, Long k) { world().allocationsUntilFailure = k; }
ENTRY(void, failLaunch)(void*, void*, Long k) { world().launchesUntilFailure = k; }
ENTRY(void, dropWaits)(void*, void*, Long k) { world().waitsUntilDrop = k; }
ENTRY(void, slow)(void*, void*, int place, int micros) { world().slowPlace = place; world().slowMicros = micros; }
ENTRY(void, takeHostMemory)(void*, void*, unsigned char yes) { world().hostMemoryToo = yes; }

/** Ends the run and writes the reports, one a line, to the address; the number of bytes. */
ENTRY(Long, finish)(void*, void*, Long address, Long capacity) {
    finish();
    std::string all;
    for (auto& line : world().reports) all += line + "\n";
    world().reports.clear();
    size_t n = all.size() < size_t(capacity) ? all.size() : size_t(capacity);
    memcpy(reinterpret_cast<char*>(address), all.data(), n);
    return n;
}
