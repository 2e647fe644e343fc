// Of NVIDIA's driver, functions that JCuda does not have.
#include <dlfcn.h>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardloom {
namespace {

/** A function of the driver, which is loaded; null where it is older than the function. */
template <class F> F ofDriver(const char* name) {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    return driver ? reinterpret_cast<F>(dlsym(driver, name)) : nullptr;
}

}  // namespace

/**
 * Bytes of a kernel's parameter, as it was compiled (cuFuncGetParamInfo, CUDA 12.4): -1 where there is no such parameter, -2 where the
 * driver does not say. The driver is loaded, and a context is current.
 */
int64_t kernelParameterBytes(int64_t function, int index) {
    typedef int (*Info)(void*, size_t, size_t*, size_t*);
    static const Info info = ofDriver<Info>("cuFuncGetParamInfo");
    if (!info) return -2;
    size_t offset = 0, bytes = 0;
    constexpr int INVALID_VALUE = 1;
    const int result = info(reinterpret_cast<void*>(function), size_t(index), &offset, &bytes);
    return result == INVALID_VALUE ? -1 : result ? -2 : int64_t(bytes);
}

/**
 * Loads all kernels of a module to the device (cuModuleEnumerateFunctions and cuFuncLoad, CUDA 12.4), each of which the driver would else load
 * at its first use: a CUresult, or -2 where the driver cannot. The module's context is current.
 */
int64_t loadKernels(int64_t module) {
    typedef int (*Count)(unsigned*, void*);
    typedef int (*Enumerate)(void**, unsigned, void*);
    typedef int (*Load)(void*);
    static const Count count = ofDriver<Count>("cuModuleGetFunctionCount");
    static const Enumerate enumerate = ofDriver<Enumerate>("cuModuleEnumerateFunctions");
    static const Load load = ofDriver<Load>("cuFuncLoad");
    if (!count || !enumerate || !load) return -2;
    unsigned kernels = 0;
    int result = count(&kernels, reinterpret_cast<void*>(module));
    std::vector<void*> all(kernels);
    if (!result && kernels > 0) result = enumerate(all.data(), kernels, reinterpret_cast<void*>(module));
    for (unsigned i = 0; i < kernels && !result; i++) result = load(all[i]);
    return result;
}

}  // namespace shardloom
