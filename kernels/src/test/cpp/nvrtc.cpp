// The functions of libnvrtc.so.12 that Shardloom calls: any program compiles, to an image that stands for the kernels of the simulated driver.
#include <cstddef>
#include <cstring>

#define API extern "C" __attribute__((visibility("default"))) int
static const char IMAGE[] = "simulated";
static int program;

/** A version that no compiler has: what is kept by version must not be taken for a GPU's. */
API nvrtcVersion(int* major, int* minor) { *major = *minor = 0; return 0; }
static const int CAPABILITIES[] = {80, 90};
API nvrtcGetNumSupportedArchs(int* count) { *count = 2; return 0; }
API nvrtcGetSupportedArchs(int* all) { memcpy(all, CAPABILITIES, sizeof CAPABILITIES); return 0; }
API nvrtcCreateProgram(void** out, const char*, const char*, int, const char* const*, const char* const*) { *out = &program; return 0; }
API nvrtcCompileProgram(void*, int, const char* const*) { return 0; }
API nvrtcGetProgramLogSize(void*, size_t* bytes) { *bytes = 1; return 0; }
API nvrtcGetProgramLog(void*, char* log) { *log = 0; return 0; }
API nvrtcGetCUBINSize(void*, size_t* bytes) { *bytes = sizeof IMAGE; return 0; }
API nvrtcGetCUBIN(void*, char* image) { memcpy(image, IMAGE, sizeof IMAGE); return 0; }
API nvrtcGetPTXSize(void*, size_t* bytes) { *bytes = sizeof IMAGE; return 0; }
API nvrtcGetPTX(void*, char* text) { memcpy(text, IMAGE, sizeof IMAGE); return 0; }
API nvrtcDestroyProgram(void** p) { *p = nullptr; return 0; }
extern "C" __attribute__((visibility("default"))) const char* nvrtcGetErrorString(int) { return "SIMULATED"; }
