// Kernels with faults that the simulation must find.
#include "simulation.h"

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
