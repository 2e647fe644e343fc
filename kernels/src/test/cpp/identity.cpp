// Who the simulated devices are, and how an environment sets them up where no test does: SHARDLOOM_SIM_DEVICES of
// SHARDLOOM_SIM_BYTES each. Weak: what driver.cpp has itself comes first.
#include "device.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace sim;
#define API extern "C" __attribute__((visibility("default"), weak)) int

static bool exists(int device) { return device >= 0 && device < int(world().devices.size()); }

__attribute__((constructor)) static void devicesOfTheEnvironment() {
    const char* count = getenv("SHARDLOOM_SIM_DEVICES");
    const char* bytes = getenv("SHARDLOOM_SIM_BYTES");
    if (!count || !world().devices.empty()) return;
    for (int i = 0; i < atoi(count); i++) {
        auto* device = new Device;
        device->index = i;
        device->limit = bytes ? strtoull(bytes, nullptr, 10) : 1ull << 30;
        world().devices.push_back(device);
    }
}

API cuDeviceGetUuid(unsigned char* uuid, int device) {
    if (!exists(device)) return INVALID_DEVICE;
    memset(uuid, 0x5d, 15);
    uuid[15] = static_cast<unsigned char>(device);
    return OK;
}
API cuDeviceGetPCIBusId(char* text, int n, int device) {
    if (!exists(device)) return INVALID_DEVICE;
    snprintf(text, n, "0000:%02x:00.0", 0x10 + device);
    return OK;
}
/** SHARDLOOM_SIM_NO_PEERS: none reaches another. */
API cuDeviceCanAccessPeer(int* yes, int device, int peer) {
    if (!exists(device) || !exists(peer)) return INVALID_DEVICE;
    *yes = device != peer && !getenv("SHARDLOOM_SIM_NO_PEERS");
    return OK;
}
