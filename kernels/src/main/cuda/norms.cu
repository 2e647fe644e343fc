// RMSNorm and LayerNorm: a block owns a row. The weight's gradient is summed in blocks of rows (sums.cu).
#pragma once
#include "portable.cuh"

/** out = s / sqrt(mean(s^2) + eps) * weight, with s = x + residual rounded into sum, or x. sum may be x or residual. */
template <class T>
__device__ void rmsNorm(T* out, float* inverse, T* sum, const T* x, const T* residual, const T* weight, i64 n, float eps) {
    const i64 row = blockIdx.x * n;
    float squares = 0;
    FOR_ROW(i, n) {
        float s = widen(x[row + i]);
        if (residual) {
            narrow(s + widen(residual[row + i]), sum[row + i]);
            s = widen(sum[row + i]);  // the rounded sum is what backward sees
        }
        squares += s * s;
    }
    const float inv = 1.0f / sqrtf(blockSum(squares) / n + eps);
    if (threadIdx.x == 0) inverse[blockIdx.x] = inv;
    const T* s = residual ? sum : x;
    FOR_ROW(i, n) narrow(widen(s[row + i]) * inv * widen(weight[i]), out[row + i]);
}

/** gradX = gradient through the norm + skip; gradX may be gradOut or skip. */
template <class T>
__device__ void rmsNormBackward(T* gradX, const T* gradOut, const T* x, const float* inverse, const T* weight, const T* skip, i64 n) {
    const i64 row = blockIdx.x * n;
    const float inv = inverse[blockIdx.x];
    float product = 0;
    FOR_ROW(i, n) product += widen(gradOut[row + i]) * widen(weight[i]) * (widen(x[row + i]) * inv);
    const float mean = blockSum(product) / n;
    FOR_ROW(i, n) {
        const float g = inv * (widen(gradOut[row + i]) * widen(weight[i]) - widen(x[row + i]) * inv * mean);
        narrow(skip ? g + widen(skip[row + i]) : g, gradX[row + i]);
    }
}

/** statistics: [rows, 2], mean and 1 / sqrt(variance + eps). */
template <class T>
__device__ void layerNorm(T* out, float* statistics, const T* x, const T* weight, const T* bias, i64 n, float eps) {
    const i64 row = blockIdx.x * n;
    float sum = 0;
    FOR_ROW(i, n) sum += widen(x[row + i]);
    const float mean = blockSum(sum) / n;
    float squares = 0;
    FOR_ROW(i, n) {
        const float d = widen(x[row + i]) - mean;
        squares += d * d;
    }
    const float inv = 1.0f / sqrtf(blockSum(squares) / n + eps);
    if (threadIdx.x == 0) {
        statistics[2 * blockIdx.x] = mean;
        statistics[2 * blockIdx.x + 1] = inv;
    }
    FOR_ROW(i, n) narrow((widen(x[row + i]) - mean) * inv * widen(weight[i]) + widen(bias[i]), out[row + i]);
}

/** gradX may be gradOut or x. */
template <class T> __device__ void layerNormBackward(T* gradX, const T* gradOut, const T* x, const float* statistics, const T* weight, i64 n) {
    const i64 row = blockIdx.x * n;
    const float mean = statistics[2 * blockIdx.x], inv = statistics[2 * blockIdx.x + 1];
    float sum = 0, product = 0;
    FOR_ROW(i, n) {
        const float g = widen(gradOut[row + i]) * widen(weight[i]);
        sum += g;
        product += g * ((widen(x[row + i]) - mean) * inv);
    }
    const float meanGrad = blockSum(sum) / n, meanProduct = blockSum(product) / n;
    FOR_ROW(i, n) {
        const float g = widen(gradOut[row + i]) * widen(weight[i]), normed = (widen(x[row + i]) - mean) * inv;
        narrow(inv * (g - meanGrad - normed * meanProduct), gradX[row + i]);
    }
}

#define NORMS(S, T)                                                                                                                    \
    KERNEL(rms_norm_##S, T* out, float* inverse, T* sum, const T* x, const T* residual, const T* weight, i64 n, float eps) {           \
        rmsNorm(out, inverse, sum, x, residual, weight, n, eps);                                                                       \
    }                                                                                                                                  \
    KERNEL(rms_norm_backward_##S, T* gradX, const T* gradOut, const T* x, const float* inverse, const T* weight, const T* skip, i64 n) { \
        rmsNormBackward(gradX, gradOut, x, inverse, weight, skip, n);                                                                  \
    }                                                                                                                                  \
    KERNEL(layer_norm_##S, T* out, float* statistics, const T* x, const T* weight, const T* bias, i64 n, float eps) {                  \
        layerNorm(out, statistics, x, weight, bias, n, eps);                                                                           \
    }                                                                                                                                  \
    KERNEL(layer_norm_backward_##S, T* gradX, const T* gradOut, const T* x, const float* statistics, const T* weight, i64 n) {         \
        layerNormBackward(gradX, gradOut, x, statistics, weight, n);                                                                   \
    }
PER_DTYPE(NORMS)
