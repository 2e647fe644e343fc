// Gradients of attention, from the log-sums that forward kept: one warp for a query of a head, then one for a key of a group, so that every
// sum has one owner and one order.
#pragma once
#include "attention.cu"

/** The query's part of gradQkv, and deltas[token, head] = gradContext . context. */
template <class T>
__device__ void attentionGradQuery(T* gradQkv, float* deltas, const T* gradContext, const T* context, const float* logSums, const T* qkv,
                                   const int* starts, const int* contexts, int sequences, Heads h) {
    DYNAMIC_SHARED(float, query);
    const int d = h.headSize, lane = threadIdx.x, token = blockIdx.x, head = blockIdx.y, group = head / (h.heads / h.groups);
    float* gradOut = query + d;
    float* grad = gradOut + d;
    float* factors = grad + d;
    const int sequence = sequenceOf(starts, sequences, token), first = starts[sequence];
    const int prefix = contexts ? contexts[sequence] : 0, position = token - first, visible = position + 1 > prefix ? position + 1 : prefix;
    const i64 stride = h.width(), at = token * i64(h.heads) + head;
    const T* keys = qkv + first * stride + h.key(group);
    const T* values = qkv + first * stride + h.value(group);
    const float scale = 1.0f / sqrtf(float(d)), logSum = logSums[at];
    float delta = 0;
    for (int i = lane; i < d; i += WARP) {
        query[i] = widen(qkv[token * stride + h.query(head) + i]);
        gradOut[i] = widen(gradContext[at * d + i]);
        grad[i] = 0;
        delta += gradOut[i] * widen(context[at * d + i]);
    }
    delta = warpSum(delta);
    if (lane == 0) deltas[at] = delta;
    __syncwarp();
    for (int from = 0; from < visible; from += WARP) {
        const int count = visible - from < WARP ? visible - from : WARP;
        float factor = 0;
        if (lane < count) {
            const float p = expf(dot(query, keys + (from + lane) * stride, d) * scale - logSum);
            factor = p * (dot(gradOut, values + (from + lane) * stride, d) - delta) * scale;
        }
        factors[lane] = factor;
        __syncwarp();
        for (int i = lane; i < d; i += WARP) {
            float sum = grad[i];
            for (int j = 0; j < count; j++) sum += factors[j] * widen(keys[(from + j) * stride + i]);
            grad[i] = sum;
        }
        __syncwarp();
    }
    for (int i = lane; i < d; i += WARP) narrow(grad[i], gradQkv[token * stride + h.query(head) + i]);
}

/** The key's and the value's part of gradQkv: over the heads of the group, and the queries that see the key. */
template <class T>
__device__ void attentionGradKey(T* gradQkv, const float* deltas, const T* gradContext, const float* logSums, const T* qkv, const int* starts,
                                 const int* contexts, int sequences, Heads h) {
    DYNAMIC_SHARED(float, key);
    const int d = h.headSize, lane = threadIdx.x, token = blockIdx.x, group = blockIdx.y, perGroup = h.heads / h.groups;
    float* value = key + d;
    float* gradKey = value + d;
    float* gradValue = gradKey + d;
    float* weights = gradValue + d;
    float* factors = weights + WARP;
    const int sequence = sequenceOf(starts, sequences, token), first = starts[sequence], end = starts[sequence + 1];
    const bool all = contexts && token - first < contexts[sequence];
    const i64 stride = h.width();
    const float scale = 1.0f / sqrtf(float(d));
    for (int i = lane; i < d; i += WARP) {
        key[i] = widen(qkv[token * stride + h.key(group) + i]);
        value[i] = widen(qkv[token * stride + h.value(group) + i]);
        gradKey[i] = gradValue[i] = 0;
    }
    __syncwarp();
    for (int head = group * perGroup; head < (group + 1) * perGroup; head++) {
        for (int from = all ? first : token; from < end; from += WARP) {
            const int count = end - from < WARP ? end - from : WARP;
            const i64 at = (from + lane) * i64(h.heads) + head;
            float weight = 0, factor = 0;
            if (lane < count) {
                weight = expf(dot(key, qkv + (from + lane) * stride + h.query(head), d) * scale - logSums[at]);
                factor = weight * (dot(value, gradContext + at * d, d) - deltas[at]) * scale;
            }
            weights[lane] = weight;
            factors[lane] = factor;
            __syncwarp();
            for (int i = lane; i < d; i += WARP) {
                float sumKey = gradKey[i], sumValue = gradValue[i];
                for (int j = 0; j < count; j++) {
                    sumKey += factors[j] * widen(qkv[(from + j) * stride + h.query(head) + i]);
                    sumValue += weights[j] * widen(gradContext[((from + j) * i64(h.heads) + head) * d + i]);
                }
                gradKey[i] = sumKey;
                gradValue[i] = sumValue;
            }
            __syncwarp();
        }
    }
    for (int i = lane; i < d; i += WARP) {
        narrow(gradKey[i], gradQkv[token * stride + h.key(group) + i]);
        narrow(gradValue[i], gradQkv[token * stride + h.value(group) + i]);
    }
}

#define ATTENTION_BACKWARD(S, T)                                                                                                            \
    KERNEL(attention_grad_query_##S, T* gradQkv, float* deltas, const T* gradContext, const T* context, const float* logSums, const T* qkv, \
           const int* starts, const int* contexts, int sequences, int heads, int groups, int headSize, int byHead) {                        \
        attentionGradQuery(gradQkv, deltas, gradContext, context, logSums, qkv, starts, contexts, sequences,                                \
                           Heads{heads, groups, headSize, byHead});                                                                         \
    }                                                                                                                                       \
    KERNEL(attention_grad_key_##S, T* gradQkv, const float* deltas, const T* gradContext, const float* logSums, const T* qkv,               \
           const int* starts, const int* contexts, int sequences, int heads, int groups, int headSize, int byHead) {                        \
        attentionGradKey(gradQkv, deltas, gradContext, logSums, qkv, starts, contexts, sequences, Heads{heads, groups, headSize, byHead});  \
    }
PER_DTYPE(ATTENTION_BACKWARD)
