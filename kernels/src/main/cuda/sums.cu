// Sums whose order depends on sizes only: over rows in blocks of ROWS, then over blocks; over all elements in blocks of SQUARES.
#pragma once
#include "portable.cuh"

#define ROWS 64
#define SQUARES 4096

/** partials[block, c] = sum over the block's rows of x[r, c]. */
#define COLUMN_PARTIALS(S, T)                                                                                      \
    KERNEL(column_partials_##S, float* partials, const T* x, i64 rows, i64 n) {                                    \
        const i64 first = blockIdx.y * i64(ROWS), end = first + ROWS < rows ? first + ROWS : rows;                 \
        FOR_ALL(c, n) {                                                                                            \
            float sum = 0;                                                                                         \
            for (i64 r = first; r < end; r++) sum += widen(x[r * n + c]);                                          \
            partials[blockIdx.y * n + c] = sum;                                                                    \
        }                                                                                                          \
    }                                                                                                              \
    /* The same of gradOut * (x - mean) * inverse; statistics: [rows, 2] of both, or [rows] of the inverse alone. */ \
    KERNEL(norm_partials_##S, float* partials, const T* gradOut, const T* x, const float* statistics, int both, i64 rows, i64 n) { \
        const i64 first = blockIdx.y * i64(ROWS), end = first + ROWS < rows ? first + ROWS : rows;                 \
        FOR_ALL(c, n) {                                                                                            \
            float sum = 0;                                                                                         \
            for (i64 r = first; r < end; r++) {                                                                    \
                const float mean = both ? statistics[2 * r] : 0.0f, inv = both ? statistics[2 * r + 1] : statistics[r]; \
                sum += widen(gradOut[r * n + c]) * ((widen(x[r * n + c]) - mean) * inv);                           \
            }                                                                                                      \
            partials[blockIdx.y * n + c] = sum;                                                                    \
        }                                                                                                          \
    }                                                                                                              \
    /* out[c] (+)= sum over blocks of partials[block, c]. */                                                       \
    KERNEL(column_total_##S, T* out, int accumulate, const float* partials, i64 blocks, i64 n) {                   \
        FOR_ALL(c, n) {                                                                                            \
            float sum = 0;                                                                                         \
            for (i64 b = 0; b < blocks; b++) sum += partials[b * n + c];                                           \
            narrow(accumulate ? sum + widen(out[c]) : sum, out[c]);                                                \
        }                                                                                                          \
    }
PER_DTYPE(COLUMN_PARTIALS)

/**
 * partials[block] = sum of the squares of the block's elements; blocks of 256 threads. In double, where no square of a float overflows: a
 * sum is not finite exactly where an element is not, which is how gradients that are not finite are found.
 */
KERNEL(sum_of_squares, double* partials, const float* x, i64 n) {
    __shared__ double sums[256];
    const i64 first = blockIdx.x * i64(SQUARES), end = first + SQUARES < n ? first + SQUARES : n;
    double sum = 0;
    for (i64 i = first + threadIdx.x; i < end; i += 256) sum += double(x[i]) * double(x[i]);
    sums[threadIdx.x] = sum;
    for (int half = 128; half > 0; half >>= 1) {
        __syncthreads();
        if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partials[blockIdx.x] = sums[0];
}
