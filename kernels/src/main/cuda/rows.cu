// Rows by index, and the loss of rows of logits.
#pragma once
#include "portable.cuh"

struct __align__(16) Sixteen { u64 low, high; };

/** Rows are n units of 2, 4 or 16 bytes. */
#define MOVE_ROWS(S, U)                                                                                   \
    KERNEL(gather_rows_##S, U* out, const U* table, const int* ids, i64 count, i64 n) {                   \
        FOR_ALL(i, count * n) { const Cell c = cellOf(i, n); out[i] = table[ids[c.row] * n + c.column]; } \
    }                                                                                                     \
    KERNEL(scatter_rows_##S, U* out, const U* rows, const int* ids, i64 count, i64 n) {                   \
        FOR_ALL(i, count * n) { const Cell c = cellOf(i, n); out[ids[c.row] * n + c.column] = rows[i]; }  \
    }
MOVE_ROWS(2, unsigned short)
MOVE_ROWS(4, unsigned)
MOVE_ROWS(16, Sixteen)

/** A block a place in order; that at which an id's run begins sums the run, in order, so that sums repeat exactly. */
template <class G, class T> __device__ void embeddingBackward(G* gradWeight, const T* gradOut, const int* ids, const int* order, int tokens, i64 n) {
    const int first = blockIdx.x, id = ids[order[first]];
    if (first > 0 && ids[order[first - 1]] == id) return;
    FOR_ROW(c, n) {
        float sum = widen(gradWeight[id * n + c]);
        for (int i = first; i < tokens && ids[order[i]] == id; i++) sum += widen(gradOut[order[i] * n + c]);
        narrow(sum, gradWeight[id * n + c]);
    }
}
#define EMBEDDING(S, G, S2, T)                                                                                                    \
    KERNEL(embedding_backward_##S##_##S2, G* gradWeight, const T* gradOut, const int* ids, const int* order, int tokens, i64 n) { \
        embeddingBackward(gradWeight, gradOut, ids, order, tokens, n);                                                            \
    }
PER_DTYPE_PAIR(EMBEDDING)

/** A block a row: loss in nats and, where grad is not null, its gradient times scale. */
template <class T> __device__ void crossEntropy(float* losses, T* grad, const float* logits, const int* targets, i64 n, float scale) {
    const i64 row = blockIdx.x * n;
    const int target = targets[blockIdx.x];
    float top = -INFINITY, total = 0;
    FOR_ROW(i, n) top = larger(logits[row + i], top);
    top = blockMax(top);
    FOR_ROW(i, n) total += expf(logits[row + i] - top);
    total = blockSum(total);
    // The difference first: large logits cancel exactly.
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(total) + (top - logits[row + target]);
    if (!grad) return;
    const float factor = scale / total;
    FOR_ROW(i, n) narrow(expf(logits[row + i] - top) * factor - (i == target ? scale : 0.0f), grad[row + i]);
}
#define CROSS_ENTROPY(S, T)                                                                                          \
    KERNEL(cross_entropy_##S, float* losses, T* grad, const float* logits, const int* targets, i64 n, float scale) { \
        crossEntropy(losses, grad, logits, targets, n, scale);                                                       \
    }
PER_DTYPE(CROSS_ENTROPY)
