// Causal grouped-query attention over packed sequences, one warp for a query of a head. Keys are streamed, 32 at a time: a lane has a key
// while scores are computed and a share of the head's elements while values are summed. No row of scores is kept.
#pragma once
#include "portable.cuh"

/** Where the columns of heads are: as org.shardloom.kernels.device.AttentionShape has it. */
struct Heads {
    int heads, groups, headSize, byHead;
    __device__ i64 width() const { return (heads + 2 * groups) * i64(headSize); }
    __device__ i64 query(int head) const { return i64(head) * headSize * (byHead ? 3 : 1); }
    __device__ i64 key(int group) const { return (byHead ? 3 * group + 1 : heads + group) * i64(headSize); }
    __device__ i64 value(int group) const { return (byHead ? 3 * group + 2 : heads + groups + group) * i64(headSize); }
};

/** The sequence of a token: the last that begins at it or before. */
__device__ __forceinline__ int sequenceOf(const int* starts, int sequences, int token) {
    int low = 0, high = sequences - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (starts[middle] <= token) low = middle;
        else high = middle - 1;
    }
    return low;
}

template <class T> __device__ __forceinline__ float dot(const float* a, const T* b, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * widen(b[i]);
    return sum;
}

/** Keys and values are those of q|k|v or, where cache is not null, those there: k|v of a token a row. */
template <class T>
__device__ void attention(T* context, float* logSums, const T* qkv, const T* cache, const int* starts, const int* contexts, const int* cacheStarts,
                          const int* past, int sequences, Heads h) {
    DYNAMIC_SHARED(float, query);
    const int d = h.headSize, lane = threadIdx.x, token = blockIdx.x, head = blockIdx.y, group = head / (h.heads / h.groups);
    float* out = query + d;
    float* weights = out + d;
    const int sequence = sequenceOf(starts, sequences, token), first = starts[sequence];
    const i64 stride = cache ? 2 * i64(h.groups) * d : h.width();
    const T* keys = cache ? cache + cacheStarts[sequence] * stride + i64(group) * d : qkv + first * stride + h.key(group);
    const T* values = cache ? keys + i64(h.groups) * d : qkv + first * stride + h.value(group);
    const int position = token - first + (cache ? past[sequence] : 0), prefix = contexts ? contexts[sequence] : 0;
    const int visible = position + 1 > prefix ? position + 1 : prefix;
    const float scale = 1.0f / sqrtf(float(d));
    for (int i = lane; i < d; i += WARP) {
        query[i] = widen(qkv[token * h.width() + h.query(head) + i]);
        out[i] = 0;
    }
    __syncwarp();
    float top = -INFINITY, total = 0;
    for (int from = 0; from < visible; from += WARP) {
        const int key = from + lane, count = visible - from < WARP ? visible - from : WARP;
        const float score = lane < count ? dot(query, keys + key * stride, d) : -INFINITY;
        const float newTop = larger(warpMax(score), top), shrink = expf((top - newTop) * scale);
        const float weight = lane < count ? expf((score - newTop) * scale) : 0.0f;
        total = total * shrink + warpSum(weight);
        top = newTop;
        weights[lane] = weight;
        __syncwarp();
        for (int i = lane; i < d; i += WARP) {
            float sum = out[i] * shrink;
            for (int j = 0; j < count; j++) sum += weights[j] * widen(values[(from + j) * stride + i]);
            out[i] = sum;
        }
        __syncwarp();
    }
    for (int i = lane; i < d; i += WARP) narrow(out[i] / total, context[(token * i64(h.heads) + head) * d + i]);
    if (logSums && lane == 0) logSums[token * i64(h.heads) + head] = top * scale + logf(total);
}

/** Rows of the cache get k and v of new tokens. A block a token. */
template <class T>
__device__ void cacheAppend(T* cache, const T* qkv, const int* starts, const int* cacheStarts, const int* past, int sequences, Heads h) {
    const int token = blockIdx.x, sequence = sequenceOf(starts, sequences, token), d = h.headSize;
    const i64 row = i64(cacheStarts[sequence]) + past[sequence] + token - starts[sequence], width = i64(h.groups) * d;
    FOR_ROW(i, width) {
        const int group = int(i / d), place = int(i % d);
        cache[row * 2 * width + i] = qkv[token * h.width() + h.key(group) + place];
        cache[row * 2 * width + width + i] = qkv[token * h.width() + h.value(group) + place];
    }
}

#define ATTENTION(S, T)                                                                                                                   \
    KERNEL(attention_##S, T* context, float* logSums, const T* qkv, const T* cache, const int* starts, const int* contexts,             \
           const int* cacheStarts, const int* past, int sequences, int heads, int groups, int headSize, int byHead) {                     \
        attention(context, logSums, qkv, cache, starts, contexts, cacheStarts, past, sequences, Heads{heads, groups, headSize, byHead});  \
    }                                                                                                                                     \
    KERNEL(cache_append_##S, T* cache, const T* qkv, const int* starts, const int* cacheStarts, const int* past, int sequences,         \
           int heads, int groups, int headSize, int byHead) {                                                                             \
        cacheAppend(cache, qkv, starts, cacheStarts, past, sequences, Heads{heads, groups, headSize, byHead});                            \
    }
PER_DTYPE(ATTENTION)
