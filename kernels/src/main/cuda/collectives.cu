// What collectives compute themselves.
#pragma once
#include "portable.cuh"

/** sum[i] = (sum[i] or 0) + parts[0, i] + parts[1, i] + ..., one rank after the other, in fp32; the parts begin a stride apart. */
#define SUM_RANKS(S, T)                                                                                  \
    KERNEL(sum_ranks_##S, float* sum, int accumulate, const T* parts, i64 stride, int ranks, i64 n) {    \
        FOR_ALL(i, n) {                                                                                  \
            float total = accumulate ? sum[i] : 0.0f;                                                    \
            for (int r = 0; r < ranks; r++) total += widen(parts[r * stride + i]);                       \
            sum[i] = total;                                                                              \
        }                                                                                                \
    }
PER_DTYPE(SUM_RANKS)
