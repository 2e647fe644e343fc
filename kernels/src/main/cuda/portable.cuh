// The language that the kernels are written in: CUDA C++ without headers, so that NVRTC needs none. Tests compile the same kernels with
// g++; their simulation.h stands for this file's first half.
#pragma once
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
typedef long long i64;
typedef unsigned long long u64;

/** A kernel that the driver finds by this name. */
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
/** A kernel whose blocks have so many threads, and of which so many blocks must find registers on a multiprocessor. */
#define KERNEL_BOUNDED(threads, blocks, name, ...) extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)
/** A loop whose counter the compiler must know, since registers have no addresses. */
#define UNROLL _Pragma("unroll")
/** Shared memory of the size that the launch gave. */
#define DYNAMIC_SHARED(T, v)                                     \
    extern __shared__ __align__(16) unsigned char sharedBytes[]; \
    T* v = reinterpret_cast<T*>(sharedBytes)
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

struct bf16 { unsigned short bits; };
struct half { unsigned short bits; };
__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float(unsigned(x.bits) << 16); }
__device__ __forceinline__ float widen(half x) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits)); return f; }
__device__ __forceinline__ void narrow(float x, float& out) { out = x; }
__device__ __forceinline__ void narrow(float x, bf16& out) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x)); }
__device__ __forceinline__ void narrow(float x, half& out) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x)); }
#else
#include "simulation.h"
#endif

/** Every dtype, and every pair of them, as K(suffix, type...). */
#define PER_DTYPE(K) K(f32, float) K(bf16, bf16) K(f16, half)
#define PER_DTYPE_WITH(K, S, T) K(S, T, f32, float) K(S, T, bf16, bf16) K(S, T, f16, half)
#define PER_DTYPE_PAIR(K) PER_DTYPE_WITH(K, f32, float) PER_DTYPE_WITH(K, bf16, bf16) PER_DTYPE_WITH(K, f16, half)

/** The elements from 0 to n - 1, shared out among all threads of the grid. */
#define FOR_ALL(i, n) for (i64 i = blockIdx.x * i64(blockDim.x) + threadIdx.x, i##Step = i64(gridDim.x) * blockDim.x; i < (n); i += i##Step)

/** A place in rows of n. */
struct Cell { i64 row, column; };
/** That of element i. Divisions of 64 bits, of some hundred instructions, only where 32 bits do not do. */
__device__ __forceinline__ Cell cellOf(i64 i, i64 n) {
    if ((u64(i) | u64(n)) >> 32 == 0) {
        const unsigned row = unsigned(i) / unsigned(n);
        return {i64(row), i64(unsigned(i) - row * unsigned(n))};
    }
    const i64 row = i / n;
    return {row, i - row * n};
}
/** The elements from 0 to n - 1, shared out among the threads of the block. */
#define FOR_ROW(i, n) for (i64 i = threadIdx.x; i < (n); i += blockDim.x)
/** Lanes of a warp; blocks are whole warps. */
#define WARP 32
#define ALL_LANES 0xffffffffu

__device__ __forceinline__ float warpSum(float x) {
    for (int bits = WARP / 2; bits > 0; bits >>= 1) x += __shfl_xor_sync(ALL_LANES, x, bits);
    return x;
}
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }
__device__ __forceinline__ float warpMax(float x) {
    for (int bits = WARP / 2; bits > 0; bits >>= 1) x = larger(x, __shfl_xor_sync(ALL_LANES, x, bits));
    return x;
}

/** The sum over the block, in an order that depends on its size only; every thread gets it. */
__device__ inline float blockSum(float x) {
    __shared__ float sums[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warpSum(x);
    if (warps == 1) return x;
    __syncthreads();  // the sums of the call before are read
    if (lane == 0) sums[warp] = x;
    __syncthreads();
    return warpSum(lane < warps ? sums[lane] : 0.0f);
}
__device__ inline float blockMax(float x) {
    __shared__ float tops[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warpMax(x);
    if (warps == 1) return x;
    __syncthreads();
    if (lane == 0) tops[warp] = x;
    __syncthreads();
    return warpMax(lane < warps ? tops[lane] : -INFINITY);
}
