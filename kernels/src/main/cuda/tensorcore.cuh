// Matrix products of a warp on tensor cores (sm_80 and later), and copies to shared memory that go on while a thread does something else.
// In all of it lane 4 g + t of a warp is "row g, place t". Tests have the same functions in simulation_tensorcore.h.
#pragma once
#include "portable.cuh"
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
/** Two elements in a register, the first in its lower half. */
template <class T> __device__ unsigned pack(float first, float second);
template <> __device__ __forceinline__ unsigned pack<bf16>(float first, float second) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}
template <> __device__ __forceinline__ unsigned pack<half>(float first, float second) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

template <class T> __device__ __forceinline__ float unpack(unsigned both, int i) { return widen(T{(unsigned short)(both >> 16 * i)}); }

/**
 * d[16, 8] += a[16, 16] b[16, 8]. Of d a lane has elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1); registers of a have two elements
 * each, from (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8) on; those of b have (2t, g), (2t + 1, g) and (2t + 8, g), (2t + 9, g).
 */
template <class T> __device__ void multiplyAdd(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
#define MULTIPLY_ADD(T, type)                                                                                                        \
    template <> __device__ __forceinline__ void multiplyAdd<T>(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {    \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                                         \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                                         \
    }
MULTIPLY_ADD(bf16, "bf16")
MULTIPLY_ADD(half, "f16")

/** A place in shared memory. */
template <class T> struct Shared {
    unsigned address;
    __device__ __forceinline__ explicit Shared(const T* p) {
        asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(address) : "l"(p));
    }
    __device__ __forceinline__ void advance(int elements) { address += elements * int(sizeof(T)); }
};
template <class T> __device__ __forceinline__ Shared<T> operator+(Shared<T> from, int elements) {
    from.advance(elements);
    return from;
}

/**
 * Four matrices of 8 by 8 elements: lanes 8 i to 8 i + 7 bring the places of the rows of matrix i, aligned to 16 bytes.
 * Register i then has elements (g, 2t), (g, 2t + 1) of matrix i.
 */
template <class T> __device__ __forceinline__ void loadMatrices(unsigned (&out)[4], Shared<T> row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(row.address) : "memory");
}
/** The same of the transposed matrices: register i has elements (2t, g), (2t + 1, g) of matrix i. */
template <class T> __device__ __forceinline__ void loadTransposed(unsigned (&out)[4], Shared<T> row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(row.address) : "memory");
}

/** 4, 8 or 16 bytes to shared memory, zeros where there is nothing to copy; both addresses are multiples of the size. */
template <int BYTES, class T> __device__ __forceinline__ void copyAsync(Shared<T> to, const T* from, bool there) {
    const int bytes = there ? BYTES : 0;
    if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(to.address), "l"(from), "r"(bytes) : "memory");
    else asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" : : "r"(to.address), "l"(from), "r"(bytes), "n"(BYTES) : "memory");
}
/** Ends a group of the thread's copies. */
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" : : : "memory"); }
/** Waits for the thread's own copies but those of the last GROUPS groups; a barrier after it is for those of other threads. */
template <int GROUPS> __device__ __forceinline__ void awaitCopies() { asm volatile("cp.async.wait_group %0;" : : "n"(GROUPS) : "memory"); }
#endif
