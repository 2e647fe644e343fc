// Kernels with faults that the simulation must find.
#include "tensorcore.cuh"

KERNEL(faulty_barrier, int n) {
    if (int(threadIdx.x) < n) __syncthreads();
}
KERNEL(faulty_barriers, int n) {
    if (int(threadIdx.x) < n) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
KERNEL(faulty_shuffle, float* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}
KERNEL(faulty_write, float* out, long long i) { if (threadIdx.x == 0) out[i] = 1; }
/** Lane i reads what its neighbour has copied, after waiting for it or not. */
KERNEL(faulty_copy, const float* in, float* out, int wait) {
    DYNAMIC_SHARED(float, tile);
    copyAsync<4>(Shared<float>(tile) + int(threadIdx.x), in + threadIdx.x, true);
    commitCopies();
    if (wait) awaitCopies<0>();
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x ^ 1];
}
KERNEL(faulty_load, int first) {
    DYNAMIC_SHARED(bf16, tile);
    unsigned out[4];
    loadMatrices(out, Shared<bf16>(tile) + (first + 8 * int(threadIdx.x)));
}
