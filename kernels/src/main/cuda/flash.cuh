// What the kernels of flash_attention.cu and flash_attention_backward.cu share: tiles of packed sequences in shared memory, and products of
// what a warp has in registers with them. A block is FLASH_WARPS warps; each has 16 rows of the block's own tile, of queries or of keys.
#pragma once
#include "attention.cu"
#include "tensorcore.cuh"

#define FLASH_WARPS 4
#define FLASH_THREADS (FLASH_WARPS * WARP)
/** Rows of the tile that a block owns. */
#define FLASH_ROWS (FLASH_WARPS * 16)
#define LOG2_E 1.4426950408889634f
/** Every dtype and head size that there are kernels for, as K(suffix, type, head size). */
#define PER_FLASH(K) K(bf16, bf16, 64) K(f16, half, 64) K(bf16, bf16, 128) K(f16, half, 128)

/** One tile of a sequence: its rows begin at position `from`. */
struct SequenceTile {
    int sequence, first, length, from;
};
/** Tiles of FLASH_ROWS tokens, sequence after sequence; false where there are no more. */
__device__ __forceinline__ bool findTile(SequenceTile& tile, const int* starts, int sequences, int index) {
    for (int s = 0; s < sequences; s++) {
        const int first = starts[s], length = starts[s + 1] - first, tiles = (length + FLASH_ROWS - 1) / FLASH_ROWS;
        if (index < tiles) {
            tile = SequenceTile{s, first, length, index * FLASH_ROWS};
            return true;
        }
        index -= tiles;
    }
    return false;
}

/** Elements from one row of a tile to the next: 16 bytes more than a row has, so that eight rows begin in different banks. */
template <int D> struct Pitch { static const int ELEMENTS = D + 8; };

/** tile[TALL, D] = rows from, from + 1... of a matrix; zeros from row `end` on. The copies are the caller's to commit. */
template <class T, int D, int TALL>
__device__ __forceinline__ void copyTile(T* tile, const T* matrix, i64 stride, int from, int end) {
    const int CHUNK = 16 / sizeof(T), AT_ONCE = FLASH_THREADS * CHUNK / D;
    const int row = threadIdx.x * CHUNK / D, column = threadIdx.x * CHUNK % D;
    const Shared<T> to = Shared<T>(tile) + (row * Pitch<D>::ELEMENTS + column);
    const T* source = matrix + (from + row) * stride + column;
    UNROLL
    for (int i = 0; i < TALL; i += AT_ONCE) copyAsync<16>(to + i * Pitch<D>::ELEMENTS, source + i * stride, from + row + i < end);
}

/** The lane's share of rows `row` and `row + 8` of a matrix, as multiplyAdd takes its first operand; zeros from row `end` on. */
template <class T, int D>
__device__ __forceinline__ void loadRows(unsigned (&out)[D / 16][4], const T* matrix, i64 stride, int row, int end) {
    const int place = threadIdx.x % 4;
    UNROLL
    for (int i = 0; i < 2; i++) {
        const bool there = row + 8 * i < end;
        const unsigned* from = reinterpret_cast<const unsigned*>(matrix + (there ? row + 8 * i : 0) * stride);
        UNROLL
        for (int k = 0; k < D / 16; k++) {
            out[k][i] = there ? from[8 * k + place] : 0;
            out[k][i + 2] = there ? from[8 * k + place + 4] : 0;
        }
    }
}

/** Where the lane's row begins, for loadMatrices of 16 rows by 16 columns whose matrices go down first, then right. */
template <class T, int D> __device__ __forceinline__ Shared<T> downThenRight(const T* tile) {
    const int lane = threadIdx.x % WARP;
    return Shared<T>(tile) + (lane % 16 * Pitch<D>::ELEMENTS + lane / 16 * 8);
}
/** The same where matrices go right first, then down. */
template <class T, int D> __device__ __forceinline__ Shared<T> rightThenDown(const T* tile) {
    const int lane = threadIdx.x % WARP;
    return Shared<T>(tile) + ((lane % 8 + lane / 16 * 8) * Pitch<D>::ELEMENTS + lane / 8 % 2 * 8);
}

template <int N> __device__ __forceinline__ void clear(float (&x)[N][4]) {
    UNROLL
    for (int n = 0; n < N; n++) {
        UNROLL
        for (int i = 0; i < 4; i++) x[n][i] = 0;
    }
}

/** out[16, TALL] += left[16, 16] (tile[TALL, D], columns from 16 k on)^T */
template <class T, int D, int TALL>
__device__ __forceinline__ void timesRows(float (&out)[TALL / 8][4], const unsigned (&left)[4], Shared<T> lane, int k) {
    UNROLL
    for (int n = 0; n < TALL / 16; n++) {
        unsigned right[4];
        loadMatrices(right, lane + (n * 16 * Pitch<D>::ELEMENTS + k * 16));
        multiplyAdd<T>(out[2 * n], left, right[0], right[1]);
        multiplyAdd<T>(out[2 * n + 1], left, right[2], right[3]);
    }
}
/** out[16, TALL] = left[16, D] tile[TALL, D]^T, left in registers. */
template <class T, int D, int TALL>
__device__ __forceinline__ void timesRows(float (&out)[TALL / 8][4], const unsigned (&left)[D / 16][4], const T* tile) {
    clear<TALL / 8>(out);
    const Shared<T> lane = rightThenDown<T, D>(tile);
    UNROLL
    for (int k = 0; k < D / 16; k++) timesRows<T, D, TALL>(out, left[k], lane, k);
}
/** out[16, TALL] = left[16, D] tile[TALL, D]^T, left in shared memory. */
template <class T, int D, int TALL>
__device__ __forceinline__ void timesRows(float (&out)[TALL / 8][4], const T* left, const T* tile) {
    clear<TALL / 8>(out);
    const Shared<T> lane = rightThenDown<T, D>(tile);
    const Shared<T> leftLane = downThenRight<T, D>(left);
    UNROLL
    for (int k = 0; k < D / 16; k++) {
        unsigned some[4];
        loadMatrices(some, leftLane + k * 16);
        timesRows<T, D, TALL>(out, some, lane, k);
    }
}

/** out[16, D] += left[16, TALL] tile[TALL, D], where left is what products of the warp have left in its registers, rounded to T. */
template <class T, int D, int TALL>
__device__ __forceinline__ void timesColumns(float (&out)[D / 8][4], const float (&left)[TALL / 8][4], const T* tile) {
    const Shared<T> lane = downThenRight<T, D>(tile);
    UNROLL
    for (int k = 0; k < TALL / 16; k++) {
        const unsigned some[4] = {pack<T>(left[2 * k][0], left[2 * k][1]), pack<T>(left[2 * k][2], left[2 * k][3]),
                                  pack<T>(left[2 * k + 1][0], left[2 * k + 1][1]), pack<T>(left[2 * k + 1][2], left[2 * k + 1][3])};
        UNROLL
        for (int n = 0; n < D / 16; n++) {
            unsigned right[4];
            loadTransposed(right, lane + (k * 16 * Pitch<D>::ELEMENTS + n * 16));
            multiplyAdd<T>(out[2 * n], some, right[0], right[1]);
            multiplyAdd<T>(out[2 * n + 1], some, right[2], right[3]);
        }
    }
}

/** Rows `row` and `row + 8` of a matrix get values times a factor of their own; those from `end` on do not exist. */
template <class T, int D>
__device__ __forceinline__ void storeRows(T* matrix, i64 stride, int row, int end, const float (&values)[D / 8][4], float upper, float lower) {
    const int place = threadIdx.x % 4;
    UNROLL
    for (int i = 0; i < 2; i++) {
        if (row + 8 * i >= end) continue;
        unsigned* to = reinterpret_cast<unsigned*>(matrix + (row + 8 * i) * stride);
        const float factor = i ? lower : upper;
        UNROLL
        for (int n = 0; n < D / 8; n++) to[4 * n + place] = pack<T>(values[n][2 * i] * factor, values[n][2 * i + 1] * factor);
    }
}

/** Over the four lanes that have a row. */
__device__ __forceinline__ float rowSum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
__device__ __forceinline__ float rowMax(float x) {
    x = larger(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return larger(x, __shfl_xor_sync(ALL_LANES, x, 2));
}
