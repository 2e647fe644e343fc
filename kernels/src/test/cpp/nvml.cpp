// The functions of libnvidia-ml.so.1 that Shardloom calls, over the devices of the simulated driver. An environment brings faults:
//   SHARDLOOM_SIM_NVML_INIT=CODE           nvmlInit returns the code
//   SHARDLOOM_SIM_NVML_HANG=1              nvmlInit does not return
//   SHARDLOOM_SIM_NVML_LOST=INDEX          that device has fallen off its bus
//   SHARDLOOM_SIM_NVML_THROTTLE=BITS       why clocks are held down
//   SHARDLOOM_SIM_NVML_ECC_ERRORS=N        uncorrected errors; -1: no device has ECC
//   SHARDLOOM_SIM_NVML_PROCESSES=PID:BYTES,...   who computes on the first device, and what it holds there
//   SHARDLOOM_SIM_NVML_LINKS=N             NVLinks that are up
//   SHARDLOOM_SIM_NVML_EXCLUSIVE=1         one process a device
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default"))) int
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

extern "C" {
int cuInit(unsigned);
int cuDeviceGetCount(int*);
int cuDeviceGetName(char*, int, int);
int cuDeviceGetUuid(unsigned char*, int);
int cuDeviceGetPCIBusId(char*, int, int);
int cuDevicePrimaryCtxRetain(void**, int);
int cuCtxGetCurrent(void**);
int cuCtxSetCurrent(void*);
int cuMemGetInfo_v2(size_t*, size_t*);
}

typedef unsigned long long Wide;
struct Memory { Wide total, free, used; };
struct Pci { char legacy[16]; unsigned domain, bus, device, ids, subsystem; char busId[32]; };
struct Process { unsigned pid; Wide bytes; unsigned instance, compute; };
/** A device's handle: its number, from 1. */
typedef intptr_t Handle;

static long setting(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text ? strtol(text, nullptr, 0) : otherwise;
}
static int devices() { int count = 0; cuInit(0); cuDeviceGetCount(&count); return count; }
static int initialized;
#define DEVICE                                                                  \
    if (!initialized) return UNINITIALIZED;                                     \
    const int index = int(device) - 1;                                          \
    if (index < 0 || index >= devices()) return INVALID_ARGUMENT;               \
    if (setting("SHARDLOOM_SIM_NVML_LOST", -1) == index) return GPU_IS_LOST

/** What the given processes hold; this one's share is the driver's to know. */
static Wide heldByOthers(int index) {
    Wide sum = 0;
    const char* text = getenv("SHARDLOOM_SIM_NVML_PROCESSES");
    for (; index == 0 && text && *text; text = strchr(text, ',') ? strchr(text, ',') + 1 : nullptr) {
        const char* colon = strchr(text, ':');
        sum += colon ? strtoull(colon + 1, nullptr, 10) : 0;
    }
    return sum;
}

API nvmlInit_v2() {
    while (setting("SHARDLOOM_SIM_NVML_HANG", 0)) sleep(1);
    const int code = int(setting("SHARDLOOM_SIM_NVML_INIT", 0));
    if (code == 0) initialized++;
    return code;
}
API nvmlShutdown() { if (!initialized) return UNINITIALIZED; initialized--; return OK; }
extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(int code) {
    return code == 9 ? "Driver Not Loaded" : code == 18 ? "Driver/library version mismatch" : code == GPU_IS_LOST ? "GPU is lost" : "a simulated error";
}
API nvmlSystemGetDriverVersion(char* text, unsigned n) { snprintf(text, n, "0.0 (simulated)"); return OK; }
API nvmlSystemGetProcessName(unsigned pid, char* text, unsigned n) { snprintf(text, n, "/usr/bin/program-%u", pid); return OK; }
API nvmlDeviceGetCount_v2(int* count) { if (!initialized) return UNINITIALIZED; *count = devices(); return OK; }
API nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle* handle) {
    if (!initialized) return UNINITIALIZED;
    if (int(index) >= devices()) return INVALID_ARGUMENT;
    *handle = Handle(index) + 1;
    return OK;
}
API nvmlDeviceGetName(Handle device, char* text, unsigned n) { DEVICE; return cuDeviceGetName(text, int(n), index); }
API nvmlDeviceGetUUID(Handle device, char* text, unsigned n) {
    DEVICE;
    unsigned char u[16];
    if (cuDeviceGetUuid(u, index)) return NOT_SUPPORTED;
    snprintf(text, n, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8],
             u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    return OK;
}
/** NVML writes a domain of eight digits, the driver one of four. */
API nvmlDeviceGetPciInfo_v3(Handle device, Pci* pci) {
    DEVICE;
    char text[28];
    if (cuDeviceGetPCIBusId(text, sizeof text, index)) return NOT_SUPPORTED;
    memset(pci, 0, sizeof *pci);
    snprintf(pci->busId, sizeof pci->busId, "0000%s", text);
    return OK;
}
/** As the driver counts it, and what the given processes hold besides. */
API nvmlDeviceGetMemoryInfo(Handle device, Memory* memory) {
    DEVICE;
    void *before = nullptr, *context = nullptr;
    size_t free = 0, total = 0;
    cuCtxGetCurrent(&before);
    cuDevicePrimaryCtxRetain(&context, index);
    cuCtxSetCurrent(context);
    const int code = cuMemGetInfo_v2(&free, &total);
    cuCtxSetCurrent(before);
    if (code) return NOT_SUPPORTED;
    const Wide others = heldByOthers(index);
    memory->total = total;
    memory->free = free > others ? free - others : 0;
    memory->used = total - memory->free;
    return OK;
}
API nvmlDeviceGetComputeRunningProcesses_v3(Handle device, unsigned* count, Process* out) {
    DEVICE;
    const unsigned room = *count;
    *count = 0;
    const char* text = getenv("SHARDLOOM_SIM_NVML_PROCESSES");
    for (; index == 0 && text && *text; text = strchr(text, ',') ? strchr(text, ',') + 1 : nullptr) {
        const char* colon = strchr(text, ':');
        if (*count < room) out[*count] = {unsigned(strtoul(text, nullptr, 10)), colon ? strtoull(colon + 1, nullptr, 10) : ~0ull, ~0u, ~0u};
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : OK;
}
API nvmlDeviceGetEccMode(Handle device, int* current, int* pending) {
    DEVICE;
    if (setting("SHARDLOOM_SIM_NVML_ECC_ERRORS", 0) < 0) return NOT_SUPPORTED;
    *current = *pending = 1;
    return OK;
}
API nvmlDeviceGetTotalEccErrors(Handle device, int type, int, Wide* count) {
    DEVICE;
    const long errors = setting("SHARDLOOM_SIM_NVML_ECC_ERRORS", 0);
    if (errors < 0) return NOT_SUPPORTED;
    *count = type == 1 ? Wide(errors) : 0;
    return OK;
}
API nvmlDeviceGetCurrentClocksThrottleReasons(Handle device, Wide* bits) { DEVICE; *bits = Wide(setting("SHARDLOOM_SIM_NVML_THROTTLE", 0x1)); return OK; }
API nvmlDeviceGetTemperature(Handle device, int, unsigned* celsius) { DEVICE; *celsius = 40 + index; return OK; }
API nvmlDeviceGetNvLinkState(Handle device, unsigned link, int* up) {
    DEVICE;
    const long links = setting("SHARDLOOM_SIM_NVML_LINKS", 0);
    if (links == 0 || link >= 18) return NOT_SUPPORTED;
    *up = long(link) < links;
    return OK;
}
API nvmlDeviceGetComputeMode(Handle device, int* mode) { DEVICE; *mode = setting("SHARDLOOM_SIM_NVML_EXCLUSIVE", 0) ? 3 : 0; return OK; }
API nvmlDeviceGetMigMode(Handle device, int* current, int* pending) { DEVICE; *current = *pending = 0; return NOT_SUPPORTED; }
