// Gradients of attention on tensor cores, for heads of 64 and 128 elements of 16 bits (after Dao, "FlashAttention-2", 2023). Probabilities are
// computed anew from the log-sums that forward kept, tile by tile: once for the gradients of 64 queries of a head, once for those of 64 keys
// and values of a group. Every sum has one owner and one order, so equal inputs give equal bits.
#pragma once
#include "flash.cuh"

/** Rows of a tile of the other side: keys for a block of queries, queries for a block of keys. Two such tiles are on their way or in use. */
#define FLASH_STEP 32

/** As attentionGradQuery() in attention_backward.cu. */
template <class T, int D>
__device__ void flashGradQuery(T* gradQkv, float* deltas, const T* gradContext, const T* context, const float* logSums, const T* qkv,
                               const int* starts, const int* contexts, int sequences, Heads h) {
    const int TILE = FLASH_STEP * Pitch<D>::ELEMENTS;
    DYNAMIC_SHARED(T, tiles);
    SequenceTile tile;
    if (!findTile(tile, starts, sequences, int(gridDim.x - 1 - blockIdx.x))) return;
    const int head = blockIdx.y, group = head / (h.heads / h.groups), place = threadIdx.x % 4;
    const int row = tile.from + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    const int length = tile.length, prefix = contexts ? contexts[tile.sequence] : 0;
    const i64 stride = h.width(), contextStride = i64(h.heads) * D, contextStart = tile.first * contextStride + i64(head) * D;
    const T* keys = qkv + tile.first * stride + h.key(group);
    const T* values = qkv + tile.first * stride + h.value(group);
    int visible[2], most = tile.from + FLASH_ROWS > prefix ? tile.from + FLASH_ROWS : prefix;
    if (most > length) most = length;
    copyTile<T, D, FLASH_STEP>(tiles, keys, stride, 0, length);
    copyTile<T, D, FLASH_STEP>(tiles + TILE, values, stride, 0, length);
    commitCopies();

    const float scale = 1.0f / sqrtf(float(D)), exponent = scale * LOG2_E;
    unsigned query[D / 16][4], gradOut[D / 16][4];
    float delta[2] = {0, 0}, logSum[2];
    loadRows<T, D>(query, gradContext + contextStart, contextStride, row, length);
    loadRows<T, D>(gradOut, context + contextStart, contextStride, row, length);
    UNROLL
    for (int k = 0; k < D / 16; k++) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            delta[i % 2] += unpack<T>(query[k][i], 0) * unpack<T>(gradOut[k][i], 0) + unpack<T>(query[k][i], 1) * unpack<T>(gradOut[k][i], 1);
            gradOut[k][i] = query[k][i];
        }
    }
    loadRows<T, D>(query, qkv + tile.first * stride + h.query(head), stride, row, length);
    UNROLL
    for (int r = 0; r < 2; r++) {
        const int own = row + 8 * r + 1, seen = own > prefix ? own : prefix;
        const i64 at = (tile.first + row + 8 * r) * i64(h.heads) + head;
        visible[r] = seen < length ? seen : length;
        delta[r] = rowSum(delta[r]);
        logSum[r] = own <= length ? logSums[at] * LOG2_E : 0.0f;
        if (own <= length && place == 0) deltas[at] = delta[r];
    }
    float grad[D / 8][4];
    clear<D / 8>(grad);
    int stage = 0;
    for (int from = 0; from < most; from += FLASH_STEP, stage ^= 1) {
        const T* keyTile = tiles + stage * 2 * TILE;
        awaitCopies<0>();
        __syncthreads();  // this tile is there, and the one before is used
        if (from + FLASH_STEP < most) {
            T* next = tiles + (stage ^ 1) * 2 * TILE;
            copyTile<T, D, FLASH_STEP>(next, keys, stride, from + FLASH_STEP, length);
            copyTile<T, D, FLASH_STEP>(next + TILE, values, stride, from + FLASH_STEP, length);
        }
        commitCopies();
        float weights[FLASH_STEP / 8][4], factors[FLASH_STEP / 8][4];
        timesRows<T, D, FLASH_STEP>(weights, query, keyTile);
        timesRows<T, D, FLASH_STEP>(factors, gradOut, keyTile + TILE);
        UNROLL
        for (int n = 0; n < FLASH_STEP / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                const bool sees = from + 8 * n + 2 * place + i % 2 < visible[i / 2];
                const float weight = sees ? exp2f(weights[n][i] * exponent - logSum[i / 2]) : 0.0f;
                factors[n][i] = weight * (factors[n][i] - delta[i / 2]);
            }
        }
        timesColumns<T, D, FLASH_STEP>(grad, factors, keyTile);
    }
    storeRows<T, D>(gradQkv + tile.first * stride + h.query(head), stride, row, length, grad, scale, scale);
}

/** Rows `row` and `row + 8` of an fp32 matrix get the values. */
template <int D>
__device__ __forceinline__ void keepRows(float* matrix, i64 stride, int row, int end, const float (&values)[D / 8][4]) {
    UNROLL
    for (int i = 0; i < 2; i++) {
        if (row + 8 * i >= end) continue;
        float* to = matrix + (row + 8 * i) * stride + threadIdx.x % 4 * 2;
        UNROLL
        for (int n = 0; n < D / 8; n++) {
            to[8 * n] = values[n][2 * i];
            to[8 * n + 1] = values[n][2 * i + 1];
        }
    }
}

/**
 * As attentionGradKey() in attention_backward.cu. A warp has 16 keys: its scores are those of keys by queries. The heads of a group are
 * shared out among `parts` blocks; where there are several, each leaves its sums in sums[part, token, (key | value), group, D], which
 * flashSumParts() adds up.
 */
template <class T, int D>
__device__ void flashGradKey(T* gradQkv, float* sums, int parts, const float* deltas, const T* gradContext, const float* logSums,
                             const T* qkv, const int* starts, const int* contexts, int sequences, Heads h) {
    const int TILE = FLASH_STEP * Pitch<D>::ELEMENTS;
    DYNAMIC_SHARED(T, keyTile);
    T* valueTile = keyTile + FLASH_ROWS * Pitch<D>::ELEMENTS;
    T* tiles = valueTile + FLASH_ROWS * Pitch<D>::ELEMENTS;
    float* statistics = reinterpret_cast<float*>(tiles + 4 * TILE);
    SequenceTile tile;
    if (!findTile(tile, starts, sequences, int(blockIdx.x))) return;
    const int group = blockIdx.y / parts, part = blockIdx.y % parts, ownHeads = h.heads / h.groups / parts;
    const int place = threadIdx.x % 4, warpRow = threadIdx.x / WARP * 16;
    const int row = tile.from + warpRow + threadIdx.x % WARP / 4, length = tile.length, prefix = contexts ? contexts[tile.sequence] : 0;
    const i64 stride = h.width(), contextStride = i64(h.heads) * D;
    const T* queries = qkv + tile.first * stride;
    const T* gradOuts = gradContext + tile.first * contextStride;
    const float scale = 1.0f / sqrtf(float(D)), exponent = scale * LOG2_E;
    // Which queries see a key of the tile, and in how many steps; then the same for the next head.
    const int firstQuery = tile.from < prefix ? 0 : tile.from, steps = (length - firstQuery + FLASH_STEP - 1) / FLASH_STEP;
    auto copyStep = [&](int step) {
        const int head = (group * parts + part) * ownHeads + step / steps, from = firstQuery + step % steps * FLASH_STEP;
        T* to = tiles + step % 2 * 2 * TILE;
        copyTile<T, D, FLASH_STEP>(to, queries + h.query(head), stride, from, length);
        copyTile<T, D, FLASH_STEP>(to + TILE, gradOuts + i64(head) * D, contextStride, from, length);
        // One warp copies log-sums, another deltas.
        const int i = threadIdx.x % WARP, which = threadIdx.x / WARP;
        if (which < 2) {
            const bool there = from + i < length;
            const i64 at = (tile.first + (there ? from + i : 0)) * i64(h.heads) + head;
            copyAsync<4>(Shared<float>(statistics) + ((step % 2 * 2 + which) * FLASH_STEP + i), (which ? deltas : logSums) + at, there);
        }
    };
    copyTile<T, D, FLASH_ROWS>(keyTile, queries + h.key(group), stride, tile.from, length);
    copyTile<T, D, FLASH_ROWS>(valueTile, queries + h.value(group), stride, tile.from, length);
    copyStep(0);
    commitCopies();
    float gradKey[D / 8][4], gradValue[D / 8][4];
    clear<D / 8>(gradKey);
    clear<D / 8>(gradValue);
    for (int step = 0; step < ownHeads * steps; step++) {
        awaitCopies<0>();
        __syncthreads();  // this tile is there, and the one before is used
        if (step + 1 < ownHeads * steps) copyStep(step + 1);
        commitCopies();
        const T* queryTile = tiles + step % 2 * 2 * TILE;
        const float* logSum = statistics + step % 2 * 2 * FLASH_STEP;
        const int from = firstQuery + step % steps * FLASH_STEP;
        float weights[FLASH_STEP / 8][4], factors[FLASH_STEP / 8][4];
        timesRows<T, D, FLASH_STEP>(weights, keyTile + warpRow * Pitch<D>::ELEMENTS, queryTile);
        timesRows<T, D, FLASH_STEP>(factors, valueTile + warpRow * Pitch<D>::ELEMENTS, queryTile + TILE);
        UNROLL
        for (int n = 0; n < FLASH_STEP / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                const int column = 8 * n + 2 * place + i % 2, query = from + column, key = row + i / 2 * 8;
                const bool sees = query < length && (key <= query || key < prefix);
                weights[n][i] = sees ? exp2f(weights[n][i] * exponent - logSum[column] * LOG2_E) : 0.0f;
                factors[n][i] = weights[n][i] * (factors[n][i] - logSum[FLASH_STEP + column]);
            }
        }
        timesColumns<T, D, FLASH_STEP>(gradValue, weights, queryTile + TILE);
        timesColumns<T, D, FLASH_STEP>(gradKey, factors, queryTile);
    }
    if (parts > 1) {
        const i64 width = 2 * i64(h.groups) * D, tokens = starts[sequences];
        float* own = sums + (part * tokens + tile.first) * width + i64(group) * D;
        keepRows<D>(own, width, row, length, gradKey);
        keepRows<D>(own + i64(h.groups) * D, width, row, length, gradValue);
        return;
    }
    T* out = gradQkv + tile.first * stride;
    storeRows<T, D>(out + h.key(group), stride, row, length, gradKey, scale, scale);
    storeRows<T, D>(out + h.value(group), stride, row, length, gradValue, 1, 1);
}

/** gradQkv's keys and values from the sums of the parts, in their order. */
template <class T> __device__ void flashSumParts(T* gradQkv, const float* sums, int parts, i64 tokens, Heads h) {
    const i64 half = i64(h.groups) * h.headSize, width = 2 * half;
    const float scale = 1.0f / sqrtf(float(h.headSize));
    FOR_ALL(i, tokens * width) {
        const i64 token = i / width, column = i % width;
        const bool value = column >= half;
        const int at = int(value ? column - half : column), group = at / h.headSize;
        float sum = 0;
        for (int part = 0; part < parts; part++) sum += sums[part * tokens * width + i];
        narrow(value ? sum : sum * scale, gradQkv[token * h.width() + (value ? h.value(group) : h.key(group)) + at % h.headSize]);
    }
}

#define FLASH_SUM_PARTS(S, T)                                                                                                          \
    KERNEL(flash_sum_parts_##S, T* gradQkv, const float* sums, int parts, i64 tokens, int heads, int groups, int headSize, int byHead) { \
        flashSumParts(gradQkv, sums, parts, tokens, Heads{heads, groups, headSize, byHead});                                           \
    }
FLASH_SUM_PARTS(bf16, bf16)
FLASH_SUM_PARTS(f16, half)

#define FLASH_BACKWARD(S, T, D)                                                                                                         \
    KERNEL_BOUNDED(FLASH_THREADS, D == 64 ? 4 : 2, flash_attention_grad_query_##D##_##S, T* gradQkv, float* deltas, const T* gradContext,           \
                      const T* context, const float* logSums, const T* qkv, const int* starts, const int* contexts, int sequences,    \
                      int heads, int groups, int byHead) {                                                                              \
        flashGradQuery<T, D>(gradQkv, deltas, gradContext, context, logSums, qkv, starts, contexts, sequences,                          \
                             Heads{heads, groups, D, byHead});                                                                          \
    }                                                                                                                                   \
    KERNEL_BOUNDED(FLASH_THREADS, D == 64 ? 3 : 2, flash_attention_grad_key_##D##_##S, T* gradQkv, float* sums, int parts,              \
                   const float* deltas, const T* gradContext, const float* logSums, const T* qkv, const int* starts,                    \
                   const int* contexts, int sequences, int heads, int groups, int byHead) {                                             \
        flashGradKey<T, D>(gradQkv, sums, parts, deltas, gradContext, logSums, qkv, starts, contexts, sequences,                        \
                           Heads{heads, groups, D, byHead});                                                                            \
    }
PER_FLASH(FLASH_BACKWARD)
