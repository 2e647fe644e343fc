// What the simulated devices are to each other.
#include "device.h"
#include <cstdio>
#include <cstring>

using namespace sim;
#define API extern "C" __attribute__((visibility("default"), weak)) int

static bool exists(int device) { return device >= 0 && device < int(world().devices.size()); }

/** SHARDLOOM_SIM_NO_PEERS: none reaches another. */
API cuDeviceCanAccessPeer(int* yes, int device, int peer) {
    if (!exists(device) || !exists(peer)) return INVALID_DEVICE;
    *yes = device != peer && !getenv("SHARDLOOM_SIM_NO_PEERS");
    return OK;
}
