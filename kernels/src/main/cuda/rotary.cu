// Rotary positions (Su et al., 2021), in place on rows of q, k and v.
#pragma once
#include "portable.cuh"

/**
 * A block a token. Adds the bias where it is not null, rotates the first rotaryDim elements of q and k heads; parts: 2 where each half of
 * rotaryDim has a position of its own, positions [parts, tokens].
 */
template <class T>
__device__ void rotary(T* qkv, const T* bias, const float* table, const int* positions, int heads, int groups, int headSize, int byHead,
                       int rotaryDim, int parts, int interleaved, int inverse) {
    const i64 width = (heads + 2 * groups) * i64(headSize);
    T* row = qkv + blockIdx.x * width;
    const int part = rotaryDim / parts, half = part / 2;
    FOR_ROW(c, width) {
        const int head = int(c / headSize), place = int(c % headSize);
        const bool value = byHead ? head % 3 == 2 : head >= heads + groups;
        const float own = widen(row[c]) + (bias ? widen(bias[c]) : 0.0f);
        if (value || place >= rotaryDim) {
            if (bias) narrow(own, row[c]);
            continue;
        }
        const int within = place % part;
        // The thread of a pair's first element writes both.
        if (interleaved ? within % 2 != 0 : within >= half) continue;
        const i64 partner = c + (interleaved ? 1 : half);
        const int pair = interleaved ? within / 2 : within;
        const float* angle = table + (positions[place / part * gridDim.x + blockIdx.x] * i64(half) + pair) * 2;
        const float cosine = angle[0], sine = inverse ? -angle[1] : angle[1];
        const float other = widen(row[partner]) + (bias ? widen(bias[partner]) : 0.0f);
        narrow(own * cosine - other * sine, row[c]);
        narrow(other * cosine + own * sine, row[partner]);
    }
}
#define ROTARY(S, T)                                                                                                                       \
    KERNEL(rotary_##S, T* qkv, const T* bias, const float* table, const int* positions, int heads, int groups, int headSize, int byHead, \
           int rotaryDim, int parts, int interleaved, int inverse) {                                                                       \
        rotary(qkv, bias, table, positions, heads, groups, headSize, byHead, rotaryDim, parts, interleaved, inverse);                      \
    }
PER_DTYPE(ROTARY)
