// The functions of libcublas.so.12 that Shardloom calls: products as plain loops, in stream order. Each writes to the workspace that it was
// given; a product without one is reported.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include "simulation.h"

#define API extern "C" __attribute__((visibility("default"))) int
enum { F32 = 0, F16 = 2, BF16 = 14, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15, COMPUTE_32F = 68 };
extern "C" int cuLaunchHostFunc(void* stream, void (*f)(void*), void* data);
extern "C" void simTouches(void* stream, const void* p, uint64_t bytes, int write, const char* what);

extern "C" int cuCtxGetDevice(int* device);
extern "C" int simOperand(int device, uint64_t address, uint64_t bytes);
extern "C" void simReport(const char* what);

struct Handle { void* stream = nullptr; void* workspace = nullptr; size_t bytes = 0; };
static std::atomic<long> productsWithoutMemory{0};

static float at(const void* p, int type, int64_t i) {
    return type == F32 ? static_cast<const float*>(p)[i] : type == BF16 ? widen(static_cast<const bf16*>(p)[i]) : widen(static_cast<const half*>(p)[i]);
}
static void put(void* p, int type, int64_t i, float x) {
    if (type == F32) static_cast<float*>(p)[i] = x;
    else if (type == BF16) narrow(x, static_cast<bf16*>(p)[i]);
    else narrow(x, static_cast<half*>(p)[i]);
}

API cublasCreate_v2(Handle** out) { *out = new Handle; return 0; }
API cublasDestroy_v2(Handle* handle) { delete handle; return 0; }
API cublasSetStream_v2(Handle* handle, void* stream) { *handle = {stream}; return 0; }
API cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes) {
    if (uint64_t(workspace) % 256) return INVALID_VALUE;
    handle->workspace = workspace, handle->bytes = bytes;
    return 0;
}
API cublasSetMathMode(Handle*, int) { return 0; }
API cublasGetVersion_v2(Handle*, int* version) { *version = 120603; return 0; }

/** Only what the real one documents: a and b of one type, c of it or fp32, sums in fp32. */
API cublasGemmEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int at_, int lda, const void* b, int bt,
                 int ldb, const void* beta, void* c, int ct, int ldc, int compute, int) {
    if (!handle) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return INVALID_VALUE;
    if (at_ != bt || (ct != at_ && ct != F32) || compute != COMPUTE_32F || (at_ != F32 && at_ != F16 && at_ != BF16)) return NOT_SUPPORTED;
    if (productsWithoutMemory > 0 && productsWithoutMemory-- > 0) return ALLOC_FAILED;
    int device = 0;
    cuCtxGetDevice(&device);
    const uint64_t workspace = uint64_t(handle->workspace);
    if (!workspace || !simOperand(device, workspace, handle->bytes)) simReport("cublasGemmEx: no workspace, or one that is not there");
    if (m > 0 && n > 0) {
        if (workspace) simTouches(handle->stream, handle->workspace, 1, 1, "cublasGemmEx");
        simTouches(handle->stream, a, 1, 0, "cublasGemmEx");
        simTouches(handle->stream, b, 1, 0, "cublasGemmEx");
        simTouches(handle->stream, c, 1, 1, "cublasGemmEx");
    }
    const float x = *static_cast<const float*>(alpha), y = *static_cast<const float*>(beta);
    auto* task = new std::function<void()>([=] {
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                float sum = 0;
                for (int l = 0; l < k; l++) sum += at(a, at_, ta ? int64_t(i) * lda + l : int64_t(l) * lda + i) * at(b, bt, tb ? int64_t(l) * ldb + j : int64_t(j) * ldb + l);
                const int64_t to = int64_t(j) * ldc + i;
                put(c, ct, to, x * sum + (y != 0 ? y * at(c, ct, to) : 0));
            }
    });
    return cuLaunchHostFunc(handle->stream, [](void* p) { auto* f = static_cast<std::function<void()>*>(p); (*f)(); delete f; }, task) ? EXECUTION_FAILED : 0;
}

extern "C" __attribute__((visibility("default"))) void Java_org_shardloom_kernels_cuda_SimulatedDriver_failProducts(void*, void*, int64_t k) { productsWithoutMemory = k; }
