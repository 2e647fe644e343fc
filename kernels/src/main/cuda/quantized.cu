// Weights of four bits, and their scales of eight (Dettmers et al., 2023).
#pragma once
#include "portable.cuh"

/** The quantiles of a normal distribution that NF4's codes stand for (Dettmers et al., 2023, appendix E). */
__constant__ float NF4[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

/** The earlier element of two is in the high half of a byte; 64 elements share a scale. */
#define DEQUANTIZE(S, T)                                                                           \
    KERNEL(dequantize_nf4_##S, T* out, const unsigned char* codes, const float* absmax, i64 n) {   \
        FOR_ALL(i, n) {                                                                            \
            const int pair = codes[i / 2], code = i % 2 == 0 ? pair >> 4 : pair & 15;              \
            narrow(NF4[code] * absmax[i / 64], out[i]);                                            \
        }                                                                                          \
    }
PER_DTYPE(DEQUANTIZE)

/** 256 elements share a scale; levels: [256]. */
KERNEL(dequantize_absmax, float* absmax, const unsigned char* codes, const float* nested, const float* levels, float offset, i64 n) {
    FOR_ALL(i, n) absmax[i] = levels[codes[i]] * nested[i / 256] + offset;
}
