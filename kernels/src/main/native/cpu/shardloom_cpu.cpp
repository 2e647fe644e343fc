// One translation unit: JavaCPP compiles this file together with the JNI code that it generates.
#include "common.h"
namespace shardloom {
void gemmOwn(int64_t, int64_t, int64_t, int64_t, int, int64_t, int64_t, int64_t, int, int64_t, int64_t, int64_t, int, int64_t, bool);
}
#include "onednn.cpp"
#include "variants.cpp"
#include "amx.cpp"
#include "sharedmemory.cpp"
#include "dispatch.cpp"
#include "launches.cpp"
