// Element by element; an output may be an input, since a thread reads its elements before it writes them.
#pragma once
#include "portable.cuh"

template <class A, class B> __device__ void convert(A* out, i64 outStride, const B* in, i64 inStride, i64 rows, i64 columns) {
    FOR_ALL(i, rows * columns) {
        const Cell c = cellOf(i, columns);
        narrow(widen(in[c.row * inStride + c.column]), out[c.row * outStride + c.column]);
    }
}
/** Rows of columns whose rows begin a stride apart. */
#define CONVERT(S, A, S2, B)                                                                              \
    KERNEL(convert_##S2##_##S, A* out, i64 outStride, const B* in, i64 inStride, i64 rows, i64 columns) { \
        convert(out, outStride, in, inStride, rows, columns);                                             \
    }
PER_DTYPE_PAIR(CONVERT)

/** out = a + factor b. */
#define ADD_SCALED(S, T)                                                          \
    KERNEL(add_scaled_##S, T* out, const T* a, const T* b, i64 n, float factor) { \
        FOR_ALL(i, n) narrow(widen(a[i]) + factor * widen(b[i]), out[i]);         \
    }                                                                             \
    KERNEL(add_##S, T* out, const T* a, const T* b, i64 n) {                      \
        FOR_ALL(i, n) narrow(widen(a[i]) + widen(b[i]), out[i]);                  \
    }
PER_DTYPE(ADD_SCALED)

/** x += bias, row by row. */
#define ADD_BIAS(S, T) \
    KERNEL(add_bias_##S, T* x, const T* bias, i64 rows, i64 n) { FOR_ALL(i, rows * n) narrow(widen(x[i]) + widen(bias[cellOf(i, n).column]), x[i]); }
PER_DTYPE(ADD_BIAS)

#define SCALE(S, T) \
    KERNEL(scale_##S, T* out, i64 n, float factor) { FOR_ALL(i, n) narrow(widen(out[i]) * factor, out[i]); }
PER_DTYPE(SCALE)

/** The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), as on the CPU. */
__device__ __forceinline__ u64 mix(u64 z) {
    u64 x = z * 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}
/** Element i is kept where a hash of key and i, of 53 bits, is at least dropped. */
#define DROPOUT(S, T)                                                                                     \
    KERNEL(dropout_##S, T* out, const T* x, i64 n, u64 key, u64 dropped, float factor) {                  \
        FOR_ALL(i, n) narrow((mix(key + u64(i)) >> 11) >= dropped ? widen(x[i]) * factor : 0.0f, out[i]); \
    }
PER_DTYPE(DROPOUT)

KERNEL(tanh_forward, float* out, const float* x, i64 n) { FOR_ALL(i, n) out[i] = tanhf(x[i]); }
KERNEL(tanh_backward, float* gradX, const float* gradY, const float* y, i64 n) { FOR_ALL(i, n) gradX[i] = gradY[i] * (1.0f - y[i] * y[i]); }

/** Element of a row's bias; 0 where there is none. */
template <class T> __device__ __forceinline__ float biasAt(const T* bias, i64 at) { return bias ? widen(bias[at]) : 0.0f; }

#define SWIGLU(S, T)                                                                                                                \
    KERNEL(swiglu_##S, T* out, const T* gateUp, const T* bias, i64 rows, i64 n) {                                                   \
        FOR_ALL(i, rows * n) {                                                                                                      \
            const Cell c = cellOf(i, n);                                                                                            \
            const i64 at = c.row * 2 * n + c.column;                                                                                \
            const float gate = widen(gateUp[at]) + biasAt(bias, c.column), up = widen(gateUp[at + n]) + biasAt(bias, c.column + n); \
            narrow(gate / (1.0f + expf(-gate)) * up, out[i]);                                                                       \
        }                                                                                                                           \
    }                                                                                                                               \
    KERNEL(swiglu_backward_##S, T* gradGateUp, const T* gradOut, const T* gateUp, const T* bias, i64 rows, i64 n) {                 \
        FOR_ALL(i, rows * n) {                                                                                                      \
            const Cell c = cellOf(i, n);                                                                                            \
            const i64 at = c.row * 2 * n + c.column;                                                                                \
            const float gate = widen(gateUp[at]) + biasAt(bias, c.column), up = widen(gateUp[at + n]) + biasAt(bias, c.column + n); \
            const float g = widen(gradOut[i]), sigmoid = 1.0f / (1.0f + expf(-gate)), silu = gate * sigmoid;                        \
            narrow(g * silu, gradGateUp[at + n]);                                                                                   \
            narrow(g * up * (sigmoid + silu * (1.0f - sigmoid)), gradGateUp[at]);                                                   \
        }                                                                                                                           \
    }
PER_DTYPE(SWIGLU)

#define GELU_SCALE 0.7978845608028654f  // sqrt(2 / pi)
#define GELU_CUBE 0.044715f
__device__ __forceinline__ float geluTanh(float x) { return tanhf(GELU_SCALE * x * (1.0f + GELU_CUBE * x * x)); }
__device__ __forceinline__ float geluSlope(float x) {
    const float t = geluTanh(x), inner = GELU_SCALE * (1.0f + 3.0f * GELU_CUBE * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
}
#define GELU(S, T)                                                                                                             \
    KERNEL(gelu_##S, T* out, const T* x, const T* bias, i64 rows, i64 n) {                                                     \
        FOR_ALL(i, rows * n) {                                                                                                 \
            const float v = widen(x[i]) + biasAt(bias, cellOf(i, n).column);                                                   \
            narrow(0.5f * v * (1.0f + geluTanh(v)), out[i]);                                                                   \
        }                                                                                                                      \
    }                                                                                                                          \
    KERNEL(gelu_backward_##S, T* gradX, const T* gradOut, const T* x, const T* bias, i64 rows, i64 n) {                        \
        FOR_ALL(i, rows * n) narrow(widen(gradOut[i]) * geluSlope(widen(x[i]) + biasAt(bias, cellOf(i, n).column)), gradX[i]); \
    }
PER_DTYPE(GELU)

/** AdamW (Loshchilov and Hutter, 2019) as on the CPU, with a part of the factors taken together by the host. */
#define ADAMW(S, T)                                                                                                                   \
    KERNEL(adamw_##S, float* master, float* first, float* second, const float* gradient, T* out, i64 n, float beta2, float rest1,     \
           float rest2, float rateOver1, float root2, float keep, float eps, float gradScale) {                                       \
        FOR_ALL(i, n) {                                                                                                               \
            const float g = gradient[i] * gradScale, m = first[i] + rest1 * (g - first[i]), v = beta2 * second[i] + rest2 * g * g;    \
            const float w = master[i] * keep - rateOver1 * m / (sqrtf(v) / root2 + eps);                                              \
            first[i] = m;                                                                                                             \
            second[i] = v;                                                                                                            \
            master[i] = w;                                                                                                            \
            narrow(w, out[i]);                                                                                                        \
        }                                                                                                                             \
    }
PER_DTYPE(ADAMW)
