// The simulation without tests: a process that finds these libraries on LD_LIBRARY_PATH is told about its devices by the environment.
//   SHARDLOOM_SIM_DEVICES        how many devices there are (1)
//   CUDA_VISIBLE_DEVICES         ordinals of those that this process sees, or beginnings of UUIDs that no two devices share (GPU-...), as the
//                                driver has it (all); an unknown one ends the list
//   SHARDLOOM_SIM_BYTES          memory of each (1 GiB)
//   SHARDLOOM_SIM_CAPABILITY     compute capability of each, times ten (80)
//   SHARDLOOM_SIM_SEED           of the delays (1)
//   SHARDLOOM_SIM_DELAY_MICROS   longest delay before each task of a stream (0)
//   SHARDLOOM_SIM_FAIL_ALLOCATION, SHARDLOOM_SIM_FAIL_LAUNCH   the k-th of each process fails (0: none)
//   SHARDLOOM_SIM_FAIL_ATTRIBUTE of a device: the driver does not tell (none)
//   SHARDLOOM_SIM_LOSE           N:K:FILE: device N is gone from the K-th launch on, also for other processes: FILE says so
//   SHARDLOOM_SIM_REPORT         a file that gets, when the process ends, a line for each fault and a last one; processes may share it
#include "device.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace sim {
namespace {

constexpr int PATIENCE_MILLIS = 2000;

long number(const char* name, long otherwise) {
    const char* value = getenv(name);
    return value && *value ? atol(value) : otherwise;
}

void lose(const std::string& what) {
    const size_t first = what.find(':'), second = what.find(':', first + 1);
    if (second == std::string::npos) return;
    auto& loss = world().loss;
    loss.device = atoi(what.c_str());
    loss.launches = atol(what.c_str() + first + 1);
    loss.mark = what.substr(second + 1);
}

/** As NVIDIA's tools write it. */
std::string uuidText(const Device& device) {
    std::string text = "GPU-";
    int i = 0;
    for (unsigned char byte : device.uuid()) {
        char hex[4];
        snprintf(hex, sizeof hex, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", byte);
        text += hex;
        i++;
    }
    return text;
}

/** That of an entry of CUDA_VISIBLE_DEVICES; null where there is none, or where a UUID's beginning names several. */
Device* named(const std::string& entry, const std::vector<Device*>& all) {
    if (entry.rfind("GPU-", 0) == 0) {
        Device* found = nullptr;
        for (Device* device : all) {
            if (uuidText(*device).rfind(entry, 0) != 0) continue;
            if (found) return nullptr;
            found = device;
        }
        return found;
    }
    char* end;
    const long i = strtol(entry.c_str(), &end, 10);
    return entry.empty() || *end || i < 0 || i >= long(all.size()) ? nullptr : all[i];
}

void seeOnly(const std::string& entries) {
    std::vector<Device*> all, visible;
    all.swap(world().devices);
    for (size_t from = 0; from < entries.size();) {
        const size_t comma = std::min(entries.find(',', from), entries.size());
        Device* device = named(entries.substr(from, comma - from), all);
        if (!device) break;
        device->index = int(visible.size());
        visible.push_back(device);
        from = comma + 1;
    }
    world().devices = visible;
}

/** Nothing is freed: threads of the process may still run. */
void writeReport() {
    World& w = world();
    std::string summary;
    heldByOthers();
    for (Device* device : w.devices) {
        std::set<Stream*> streams;
        { std::lock_guard<std::mutex> lock(device->mutex); streams = device->streams; }
        const std::string name = " device " + std::to_string(device->physical);
        if (device->error) continue;  // what was there went with it
        for (Stream* stream : streams) {
            if (!stream->drain(PATIENCE_MILLIS)) w.report("not through in the end: a stream of" + name);
        }
        std::lock_guard<std::mutex> lock(device->mutex);
        for (auto& [address, bytes] : device->blocks) {
            checkRedZones(*device, address, bytes);
            w.report("leak: " + std::to_string(bytes) + " bytes of" + name);
        }
        checkFreed(*device);
        summary += "," + name + " peak " + std::to_string(device->peak) + " bytes";
    }
    std::string text;
    const std::string pid = std::to_string(getpid()) + " ";
    std::lock_guard<std::mutex> lock(w.mutex);
    for (auto& line : w.reports) text += pid + line + "\n";
    text += pid + "end: " + std::to_string(w.reports.size()) + " faults" + summary + "\n";
    const int file = open(getenv("SHARDLOOM_SIM_REPORT"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, text.data(), text.size()) != ssize_t(text.size())) perror("SHARDLOOM_SIM_REPORT");
    if (file >= 0) close(file);
}

}  // namespace

bool World::isLost(const Device& device) const { return device.physical == loss.device && access(loss.mark.c_str(), F_OK) == 0; }

void takeEnvironment() {
    static std::mutex once;
    std::lock_guard<std::mutex> lock(once);
    World& w = world();
    if (!w.devices.empty()) return;
    addDevices(int(number("SHARDLOOM_SIM_DEVICES", 1)), number("SHARDLOOM_SIM_BYTES", 1L << 30));
    if (const char* visible = getenv("CUDA_VISIBLE_DEVICES")) seeOnly(visible);
    w.seed = number("SHARDLOOM_SIM_SEED", 1);
    w.delayMicros = int(number("SHARDLOOM_SIM_DELAY_MICROS", 0));
    w.allocationsUntilFailure = number("SHARDLOOM_SIM_FAIL_ALLOCATION", 0);
    w.launchesUntilFailure = number("SHARDLOOM_SIM_FAIL_LAUNCH", 0);
    if (const char* what = getenv("SHARDLOOM_SIM_LOSE")) lose(what);
    if (const char* file = getenv("SHARDLOOM_SIM_REPORT"); file && *file && !w.devices.empty()) atexit(writeReport);
}
}  // namespace sim
