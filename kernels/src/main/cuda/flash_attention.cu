// Attention forward on tensor cores, for heads of 64 and 128 elements of 16 bits (after Dao, "FlashAttention-2", 2023): a block has 64 queries
// of a head in registers and sees all their keys, 64 at a time; scores exist for one tile only.
#pragma once
#include "flash.cuh"

#define FLASH_KEYS 64

/** As attention() in attention.cu. The last tiles, which see the most keys, begin first. */
template <class T, int D>
__device__ void flashAttention(T* context, float* logSums, const T* qkv, const T* cache, const int* starts, const int* contexts,
                               const int* cacheStarts, const int* past, int sequences, Heads h) {
    DYNAMIC_SHARED(T, keyTile);
    T* valueTile = keyTile + FLASH_KEYS * Pitch<D>::ELEMENTS;
    SequenceTile tile;
    if (!findTile(tile, starts, sequences, int(gridDim.x - 1 - blockIdx.x))) return;
    const int head = blockIdx.y, group = head / (h.heads / h.groups), place = threadIdx.x % 4;
    const int row = tile.from + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    const int before = cache ? past[tile.sequence] : 0, length = before + tile.length, prefix = contexts ? contexts[tile.sequence] : 0;
    const i64 stride = cache ? 2 * i64(h.groups) * D : h.width();
    const T* keys = cache ? cache + cacheStarts[tile.sequence] * stride + i64(group) * D : qkv + tile.first * stride + h.key(group);
    const int toValues = int(cache ? i64(h.groups) * D : h.value(group) - h.key(group));
    // How many keys the lane's two rows see, and all rows of the block.
    int visible[2], most = before + tile.from + FLASH_ROWS;
    UNROLL
    for (int i = 0; i < 2; i++) {
        const int own = before + row + 8 * i + 1, seen = own > prefix ? own : prefix;
        visible[i] = seen < length ? seen : length;
    }
    if (most < prefix) most = prefix;
    if (most > length) most = length;
    const float scale = 1.0f / sqrtf(float(D)), exponent = scale * LOG2_E;

    copyTile<T, D, FLASH_KEYS>(keyTile, keys, stride, 0, length);
    commitCopies();
    unsigned query[D / 16][4];
    loadRows<T, D>(query, qkv + tile.first * h.width() + h.query(head), h.width(), row, tile.length);
    float out[D / 8][4], top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    clear<D / 8>(out);
    for (int from = 0; from < most; from += FLASH_KEYS) {
        awaitCopies<0>();
        __syncthreads();  // keys are there, and the values before are used
        copyTile<T, D, FLASH_KEYS>(valueTile, keys + toValues, stride, from, length);
        commitCopies();
        float scores[FLASH_KEYS / 8][4];
        timesRows<T, D, FLASH_KEYS>(scores, query, keyTile);
        awaitCopies<0>();
        __syncthreads();  // values are there, and these keys are used
        if (from + FLASH_KEYS < most) copyTile<T, D, FLASH_KEYS>(keyTile, keys, stride, from + FLASH_KEYS, length);
        commitCopies();
        if (from + FLASH_KEYS > visible[0]) {
            UNROLL
            for (int n = 0; n < FLASH_KEYS / 8; n++) {
                UNROLL
                for (int i = 0; i < 4; i++) if (from + 8 * n + 2 * place + i % 2 >= visible[i / 2]) scores[n][i] = -INFINITY;
            }
        }
        UNROLL
        for (int r = 0; r < 2; r++) {
            float newTop = top[r];
            UNROLL
            for (int n = 0; n < FLASH_KEYS / 8; n++) newTop = larger(newTop, larger(scores[n][2 * r], scores[n][2 * r + 1]));
            newTop = rowMax(newTop);
            // Every row sees the first key: from the first tile on the top is a score.
            const float shrink = exp2f((top[r] - newTop) * exponent);
            top[r] = newTop;
            total[r] *= shrink;
            UNROLL
            for (int n = 0; n < FLASH_KEYS / 8; n++) {
                UNROLL
                for (int i = 2 * r; i < 2 * r + 2; i++) {
                    scores[n][i] = exp2f((scores[n][i] - newTop) * exponent);
                    total[r] += scores[n][i];
                }
            }
            UNROLL
            for (int n = 0; n < D / 8; n++) {
                out[n][2 * r] *= shrink;
                out[n][2 * r + 1] *= shrink;
            }
        }
        timesColumns<T, D, FLASH_KEYS>(out, scores, valueTile);
    }
    total[0] = rowSum(total[0]);
    total[1] = rowSum(total[1]);
    const i64 width = i64(h.heads) * D;
    storeRows<T, D>(context + tile.first * width + i64(head) * D, width, row, tile.length, out, 1 / total[0], 1 / total[1]);
    if (!logSums || place != 0) return;
    UNROLL
    for (int r = 0; r < 2; r++) {
        if (row + 8 * r < tile.length) logSums[(tile.first + row + 8 * r) * i64(h.heads) + head] = top[r] * scale + logf(total[r]);
    }
}

#define FLASH_ATTENTION(S, T, D)                                                                                                    \
    KERNEL_BOUNDED(FLASH_THREADS, D == 64 ? 3 : 2, flash_attention_##D##_##S, T* context, float* logSums, const T* qkv, const T* cache,         \
                      const int* starts, const int* contexts, const int* cacheStarts, const int* past, int sequences, int heads,  \
                      int groups, int byHead) {                                                                                     \
        flashAttention<T, D>(context, logSums, qkv, cache, starts, contexts, cacheStarts, past, sequences,                          \
                             Heads{heads, groups, D, byHead});                                                                      \
    }
PER_FLASH(FLASH_ATTENTION)
