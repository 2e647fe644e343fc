// Of NVIDIA's driver, a function that JCuda does not have.
#include <dlfcn.h>
#include <cstddef>
#include <cstdint>

namespace shardloom {

/**
 * Bytes of a kernel's parameter, as it was compiled (cuFuncGetParamInfo, CUDA 12.4): -1 where there is no such parameter, -2 where the
 * driver does not say. The driver is loaded, and a context is current.
 */
int64_t kernelParameterBytes(int64_t function, int index) {
    typedef int (*Info)(void*, size_t, size_t*, size_t*);
    static const Info info = [] {
        void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        return driver ? reinterpret_cast<Info>(dlsym(driver, "cuFuncGetParamInfo")) : nullptr;
    }();
    if (!info) return -2;
    size_t offset = 0, bytes = 0;
    constexpr int INVALID_VALUE = 1;
    const int result = info(reinterpret_cast<void*>(function), size_t(index), &offset, &bytes);
    return result == INVALID_VALUE ? -1 : result ? -2 : int64_t(bytes);
}

}  // namespace shardloom
