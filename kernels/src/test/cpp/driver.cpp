// The functions of libcuda.so.1 that Shardloom calls.
#include "device.h"
#include "simulation.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

using namespace sim;
#define API extern "C" __attribute__((visibility("default"))) int
typedef uint64_t Address;

static thread_local Context* context;
#define DEVICE                                   \
    if (!context) return INVALID_CONTEXT;        \
    Device* device = context->device;            \
    if (device->error) return device->error
#define INSIDE(address, bytes) if (!allocated(address, bytes)) return INVALID_VALUE

/** SHARDLOOM_SIM_INIT and SHARDLOOM_SIM_DRIVER_VERSION: a driver that does not work, or is another. */
static int setting(const char* name, int otherwise) { const char* text = getenv(name); return text ? atoi(text) : otherwise; }
API cuInit(unsigned) { takeEnvironment(); return world().devices.empty() ? NO_DEVICE : setting("SHARDLOOM_SIM_INIT", OK); }
API cuDriverGetVersion(int* version) { *version = setting("SHARDLOOM_SIM_DRIVER_VERSION", 12060); return OK; }
API cuGetErrorName(int, const char** name) { *name = "SIMULATED"; return OK; }
API cuDeviceGetCount(int* count) { *count = int(world().devices.size()); return OK; }
API cuDeviceGet(int* out, int i) {
    if (i < 0 || i >= int(world().devices.size())) return INVALID_DEVICE;
    *out = i;
    return OK;
}
API cuDeviceGetName(char* name, int n, int device) { snprintf(name, n, "simulated device %d", device); return OK; }
API cuDeviceGetUuid(unsigned char* uuid, int device) {
    memcpy(uuid, world().devices.at(device)->uuid().data(), 16);
    return OK;
}
API cuDeviceGetUuid_v2(unsigned char* uuid, int device) { return cuDeviceGetUuid(uuid, device); }
API cuDeviceGetPCIBusId(char* id, int n, int device) {
    snprintf(id, n, "0000:%02X:00.0", world().devices.at(device)->physical + 1);
    return OK;
}
API cuCtxGetDevice(int* device) {
    if (!context) return INVALID_CONTEXT;
    *device = context->device->index;
    return OK;
}
API cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = world().devices.at(device)->limit; return OK; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
    if (attribute == setting("SHARDLOOM_SIM_FAIL_ATTRIBUTE", -1)) return 999;
    switch (attribute) {
        case 16: *value = 4; break;          // multiprocessors
        case 75: *value = setting("SHARDLOOM_SIM_CAPABILITY", 80) / 10; break;  // compute capability, major
        case 76: *value = setting("SHARDLOOM_SIM_CAPABILITY", 80) % 10; break;  // minor
        default: *value = 0;
    }
    return OK;
}

API cuDevicePrimaryCtxRetain(Context** out, int device) {
    if (device < 0 || device >= int(world().devices.size())) return INVALID_DEVICE;
    if (world().isLost(*world().devices[device])) return UNAVAILABLE;
    *out = &world().devices[device]->context;
    return OK;
}
API cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API cuCtxSetCurrent(Context* c) { context = c; return OK; }
API cuCtxGetCurrent(Context** c) { *c = context; return OK; }
API cuCtxSynchronize() { DEVICE; device->waits++; drain(*device); return device->error; }

API cuMemAlloc_v2(Address* out, size_t bytes) {
    DEVICE;
    if (bytes == 0) return INVALID_VALUE;
    World& w = world();
    if (w.allocationsUntilFailure > 0 && --w.allocationsUntilFailure == 0) return OUT_OF_MEMORY;
    std::lock_guard<std::mutex> lock(device->mutex);
    if (device->used + bytes > device->limit) return OUT_OF_MEMORY;
    // 256 bytes is what CUDA aligns to; the red zone begins at the very last byte asked for.
    const size_t size = (bytes + 2 * RED_ZONE + 511) / 512 * 512;
    auto* base = static_cast<unsigned char*>(aligned_alloc(512, size));
    if (!base) return OUT_OF_MEMORY;
    memset(base, RED, size);
    memset(base + RED_ZONE, FRESH, bytes);
    *out = reinterpret_cast<Address>(base + RED_ZONE);
    device->blocks[*out] = bytes;
    device->used += bytes;
    device->peak = std::max(device->peak, device->used);
    w.allocations++;
    return OK;
}
/** Waits for nothing: CUDA does not promise that it does. */
API cuMemFree_v2(Address address) {
    if (!context) return INVALID_CONTEXT;
    Device* device = context->device;
    std::unique_lock<std::mutex> lock(device->mutex);
    auto block = device->blocks.find(address);
    if (block == device->blocks.end()) {
        lock.unlock();
        world().report("freed what is not allocated on device " + std::to_string(device->index));
        return INVALID_VALUE;
    }
    const uint64_t bytes = block->second;
    device->blocks.erase(block);
    device->used -= bytes;
    checkRedZones(*device, address, bytes);
    memset(reinterpret_cast<void*>(address), FREED, bytes);
    device->freed.emplace_back(address, bytes);
    return OK;
}
API cuMemGetInfo_v2(size_t* free, size_t* total) {
    DEVICE;
    *total = device->limit;
    *free = device->limit - device->used;
    return OK;
}

/** Page-locked: sizes by address, so that a block that is freed twice is found. */
static std::mutex pinnedMutex;
static std::map<void*, size_t> pinned;
static std::map<void*, Device*> pinnedFor;
API cuMemHostAlloc(void** out, size_t bytes, unsigned) {
    if (!context) return INVALID_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    void* block = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!block) return OUT_OF_MEMORY;
    memset(block, FRESH, bytes);
    std::lock_guard<std::mutex> lock(pinnedMutex);
    pinned[block] = bytes;
    *out = block;
    return OK;
}
/** Memory of the caller's own, whose pages are locked; they must be whole. */
API cuMemHostRegister_v2(void* block, size_t bytes, unsigned) {
    if (!context) return INVALID_CONTEXT;
    if (bytes == 0 || reinterpret_cast<uintptr_t>(block) % 4096 || bytes % 4096) return INVALID_VALUE;
    memset(block, FRESH, bytes);  // nobody may rely on what is there
    std::lock_guard<std::mutex> lock(pinnedMutex);
    if (!pinned.emplace(block, bytes).second) return 712;  // registered already
    Device* device = context->device;
    pinnedFor[block] = device;
    device->pinned += bytes;
    device->pinnedPeak = std::max(device->pinnedPeak, device->pinned);
    return OK;
}
API cuMemHostUnregister(void* block) {
    if (!context) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> lock(pinnedMutex);
    auto found = pinned.find(block);
    if (found == pinned.end()) return 713;
    pinnedFor[block]->pinned -= found->second;
    pinned.erase(found);
    return OK;
}
API cuMemFreeHost(void* block) {
    if (!context) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> lock(pinnedMutex);
    auto found = pinned.find(block);
    if (found == pinned.end()) return INVALID_VALUE;
    // Kept, and checked in the end, as the device's is.
    memset(block, FREED, found->second);
    world().freedHost.emplace_back(block, found->second);
    pinned.erase(found);
    return OK;
}

/** Whether the range is page-locked. */
static bool isPinned(const void* from, size_t bytes) {
    std::lock_guard<std::mutex> lock(pinnedMutex);
    auto after = pinned.upper_bound(const_cast<void*>(from));
    if (after == pinned.begin()) return false;
    auto block = std::prev(after);
    return static_cast<const char*>(from) + bytes <= static_cast<char*>(block->first) + block->second;
}

API cuStreamCreate(Stream** out, unsigned) {
    DEVICE;
    std::lock_guard<std::mutex> lock(device->mutex);
    const auto place = std::count_if(device->streams.begin(), device->streams.end(), [](Stream* s) { return !s->destroyed; });
    *out = new Stream(world().seed + place * 1000003 + device->index, int(place));
    device->streams.insert(*out);
    return OK;
}
API cuStreamCreateWithPriority(Stream** out, unsigned flags, int) { return cuStreamCreate(out, flags); }
API cuCtxGetStreamPriorityRange(int* least, int* greatest) { *least = 0; *greatest = -5; return OK; }
/** Returns at once, as CUDA does: what was issued to the stream still runs. */
API cuStreamDestroy_v2(Stream* stream) {
    if (!context) return INVALID_CONTEXT;
    std::lock_guard<std::mutex> lock(context->device->mutex);
    stream->destroyed = true;
    return OK;
}
API cuStreamSynchronize(Stream* stream) {
    DEVICE;
    const Clock clock = clockOf(*stream);
    stream->drain();
    hostKnows(clock);
    return device->error;
}
API cuStreamQuery(Stream* stream) { DEVICE; return stream->idle() ? OK : NOT_READY; }

API cuEventCreate(Event** out, unsigned) { *out = new Event; return OK; }
API cuEventDestroy_v2(Event*) { return OK; }  // a stream may still be on its way to it
API cuEventRecord(Event* event, Stream* stream) {
    DEVICE;
    auto recorded = std::make_shared<Recorded>();
    records(*stream, *recorded);
    { std::lock_guard<std::mutex> lock(event->mutex); event->last = recorded; }
    stream->put([=] { recorded->reach(); });
    return OK;
}
/** An event that was never recorded is reached, as CUDA has it. */
API cuEventSynchronize(Event* event) {
    DEVICE;
    if (auto recorded = event->get()) {
        recorded->await();
        hostKnows(recorded->clock);
    }
    return device->error;
}
/** Of the host's threads that stand for streams: it says nothing of a GPU. */
API cuEventElapsedTime(float* millis, Event* first, Event* last) {
    auto from = first->get(), to = last->get();
    if (!from || !to) return INVALID_VALUE;
    if (!from->isReached() || !to->isReached()) return NOT_READY;
    *millis = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return OK;
}
API cuEventQuery(Event* event) {
    auto recorded = event->get();
    if (recorded && !recorded->isReached()) return NOT_READY;
    if (recorded) hostKnows(recorded->clock);
    return OK;
}
API cuStreamWaitEvent(Stream* stream, Event* event, unsigned) {
    DEVICE;
    World& w = world();
    const bool drop = w.waitsUntilDrop < 0 || (w.waitsUntilDrop > 0 && --w.waitsUntilDrop == 0);
    if (auto recorded = event->get()) {
        waitsFor(*stream, *recorded);  // one that is left out on demand is none that was forgotten
        if (!drop) stream->put([=] { recorded->await(); });
    }
    return OK;
}

API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream* stream) {
    DEVICE;
    INSIDE(to, bytes);
    if (!isPinned(from, bytes)) world().pageableCopies++;
    touches(*stream, reinterpret_cast<Address>(from), bytes, false, "a copy to the device");
    touches(*stream, to, bytes, true, "a copy to the device");
    stream->put([=] { memcpy(reinterpret_cast<void*>(to), from, bytes); });
    return OK;
}
API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream* stream) {
    DEVICE;
    INSIDE(from, bytes);
    if (!isPinned(to, bytes)) world().pageableCopies++;
    touches(*stream, from, bytes, false, "a copy to the host");
    touches(*stream, reinterpret_cast<Address>(to), bytes, true, "a copy to the host");
    stream->put([=] { memcpy(to, reinterpret_cast<void*>(from), bytes); });
    return OK;
}
API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream* stream) {
    DEVICE;
    INSIDE(to, bytes);
    INSIDE(from, bytes);
    touches(*stream, from, bytes, false, "a copy");
    touches(*stream, to, bytes, true, "a copy");
    stream->put([=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
    return OK;
}
API cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream* stream) {
    DEVICE;
    INSIDE(to, bytes);
    touches(*stream, to, bytes, true, "a fill");
    stream->put([=] { memset(reinterpret_cast<void*>(to), value, bytes); });
    return OK;
}
API cuLaunchHostFunc(Stream* stream, void (*f)(void*), void* data) { DEVICE; stream->put([=] { f(data); }); return OK; }

/** How much shared memory a launch may ask for: what a kernel was given beyond the usual, by device. */
constexpr unsigned USUAL_SHARED = 48 << 10, MOST_SHARED = 163 << 10;
static std::mutex sharedMutex;
static std::map<std::pair<Device*, const Kernel*>, unsigned> sharedLimits;
static unsigned sharedLimit(Device* device, const Kernel* kernel) {
    std::lock_guard<std::mutex> lock(sharedMutex);
    auto limit = sharedLimits.find({device, kernel});
    return limit == sharedLimits.end() ? USUAL_SHARED : limit->second;
}

/** As with lazy loading, which is the default: kernels of the module loaded last, and how many were only loaded when they were asked for. */
static std::set<const Kernel*> loadedKernels;
static std::atomic<int64_t> lateLoads{0};
extern "C" __attribute__((visibility("default"))) int64_t Java_org_shardloom_kernels_cuda_SimulatedDriver_lateLoads(void*, void*) { return lateLoads; }
API cuModuleGetFunctionCount(unsigned* count, void*) { *count = unsigned(kernels().size()); return OK; }
API cuModuleEnumerateFunctions(const Kernel** out, unsigned count, void*) {
    for (const Kernel& kernel : kernels()) {
        if (count-- == 0) break;
        *out++ = &kernel;
    }
    return OK;
}
API cuFuncLoad(const Kernel* kernel) {
    std::lock_guard<std::mutex> lock(sharedMutex);
    loadedKernels.insert(kernel);
    return OK;
}

/** Any image stands for the kernels that g++ has compiled; they begin with the usual limits. */
API cuModuleLoadData(void** module, const void* image) {
    DEVICE;
    std::lock_guard<std::mutex> lock(sharedMutex);
    for (const Kernel& kernel : kernels()) sharedLimits.erase({device, &kernel});
    loadedKernels.clear();
    *module = const_cast<char*>("kernels");
    return image ? OK : INVALID_VALUE;
}
API cuModuleUnload(void*) { return OK; }
API cuModuleGetFunction(const Kernel** out, void*, const char* name) {
    for (const Kernel& kernel : kernels()) {
        if (strcmp(kernel.name, name) == 0) {
            std::lock_guard<std::mutex> lock(sharedMutex);
            if (loadedKernels.insert(&kernel).second) lateLoads++;
            *out = &kernel;
            return OK;
        }
    }
    return NOT_FOUND;
}
API cuFuncGetParamInfo(const Kernel* kernel, size_t index, size_t* offset, size_t* bytes) {
    if (index >= kernel->sizes.size()) return INVALID_VALUE;
    *offset = 0;
    for (size_t i = 0; i <= index; i++) {
        *bytes = size_t(kernel->sizes[i]);
        *offset = (*offset + *bytes - 1) / *bytes * *bytes + (i < index ? *bytes : 0);
    }
    return OK;
}
API cuFuncSetAttribute(const Kernel* kernel, int attribute, int value) {
    DEVICE;
    if (attribute != 8 || value < 0 || unsigned(value) > MOST_SHARED) return INVALID_VALUE;  // 8: most dynamic shared memory
    std::lock_guard<std::mutex> lock(sharedMutex);
    sharedLimits[{device, kernel}] = unsigned(value);
    return OK;
}
API cuLaunchKernel(const Kernel* kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned sharedBytes,
                   Stream* stream, void** arguments, void**) {
    DEVICE;
    World& w = world();
    if (w.launchesUntilFailure > 0 && --w.launchesUntilFailure == 0) { device->error = LAUNCH_FAILED; return LAUNCH_FAILED; }
    if (device->physical == w.loss.device && --w.loss.launches == 0) {
        if (FILE* mark = fopen(w.loss.mark.c_str(), "w")) fclose(mark);
        device->error = UNAVAILABLE;
        return UNAVAILABLE;
    }
    if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || bx == 0 || bx > 1024 || bx % 32 || by != 1 || bz != 1 || sharedBytes > sharedLimit(device, kernel)) return INVALID_VALUE;
    // Arguments are copied at the launch, as the driver does.
    auto values = std::make_shared<std::vector<uint64_t>>(kernel->sizes.size());
    for (size_t i = 0; i < values->size(); i++) memcpy(&(*values)[i], arguments[i], kernel->sizes[i]);
    for (size_t i = 0; i < values->size(); i++) {
        if (kernel->uses[i] != NUMBER) touches(*stream, (*values)[i], 1, kernel->uses[i] == WRITTEN, kernel->name);
    }
    const uint64_t seed = w.seed;
    stream->put([=] {
        if (device->error) return;
        std::vector<void*> pointers;
        for (uint64_t& value : *values) pointers.push_back(&value);
        const char* fault = run(*kernel, pointers.data(), {gx, gy, gz}, {bx, by, bz}, sharedBytes, seed + uint64_t(gx) * bx);
        if (*fault) {
            world().report(std::string("kernel: ") + fault);
            device->error = LAUNCH_FAILED;
        }
    });
    return OK;
}

// For the other simulated libraries.
#define FOR_OTHERS extern "C" __attribute__((visibility("default")))
FOR_OTHERS void simReport(const char* what) { world().report(what); }
FOR_OTHERS int simOperand(int device, Address address, uint64_t bytes) { return allocatedOn(*world().devices.at(device), address, bytes) || world().hostMemoryToo; }
FOR_OTHERS void simTouches(void* stream, const void* p, uint64_t bytes, int write, const char* what) {
    touches(*static_cast<Stream*>(stream), reinterpret_cast<Address>(p), bytes, write != 0, what);
}
FOR_OTHERS int simDelayMicros() { return world().delayMicros; }
FOR_OTHERS uint64_t simSeed() { return world().seed; }
FOR_OTHERS void simHeldByOthers(void (*ask)()) { heldByOthers = ask; }
