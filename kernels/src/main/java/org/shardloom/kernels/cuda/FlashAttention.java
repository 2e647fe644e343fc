package org.shardloom.kernels.cuda;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionTiles;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Attention on tensor cores (flash_attention.cu, flash_attention_backward.cu), for heads of 64 and 128 elements in bf16 and fp16: products of
 * 16-bit operands, probabilities among them, with fp32 sums. Whatever it does not take goes to the kernels that need no tensor cores.
 */
final class FlashAttention {
    /** Those of flash.cuh and of the files that include it. */
    static final int THREADS = 128, ROWS = AttentionTiles.ROWS, KEYS = 64, STEP = 32, PADDING = 8;

    private final Stream stream;

    FlashAttention(Stream stream) {
        this.stream = stream;
    }

    /** Dynamic shared memory of a forward block: a tile of keys and one of values. */
    static int forwardShared(int headSize) {
        return 2 * tile(KEYS, headSize);
    }

    /** Of a block that has the gradients of queries: two tiles of keys and of values. */
    static int gradQueryShared(int headSize) {
        return 4 * tile(STEP, headSize);
    }

    /** Of a block that has the gradients of keys and values: their tiles, then two of queries, gradients, log-sums and deltas. */
    static int gradKeyShared(int headSize) {
        return 2 * tile(ROWS, headSize) + 4 * tile(STEP, headSize) + 4 * STEP * Float.BYTES;
    }

    private static int tile(int rows, int headSize) {
        return rows * (headSize + PADDING) * Short.BYTES;
    }

    void forward(
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            Tensor cache,
            IndexTensor starts,
            Tensor contexts,
            Tensor cacheStarts,
            Tensor past,
            AttentionShape s) {
        int sequences = starts.count() - 1;
        stream.launch(
                kernel("flash_attention_", s, qkv),
                AttentionTiles.tiles(qkv.rows(), sequences),
                s.heads(),
                THREADS,
                forwardShared(s.headSize()),
                context,
                logSums,
                qkv,
                cache,
                starts.storage(),
                contexts,
                cacheStarts,
                past,
                sequences,
                s.heads(),
                s.groups(),
                s.byHead() ? 1 : 0);
    }

    void backward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            Tensor contexts,
            AttentionShape s) {
        int sequences = starts.count() - 1, byHead = s.byHead() ? 1 : 0;
        long tiles = AttentionTiles.tiles(qkv.rows(), sequences);
        try (Memory scope = stream.workspace()) {
            AttentionTiles.Workspace work = AttentionTiles.workspace(scope, qkv, starts, s);
            stream.launch(
                    kernel("flash_attention_grad_query_", s, qkv),
                    tiles,
                    s.heads(),
                    THREADS,
                    gradQueryShared(s.headSize()),
                    gradQkv,
                    work.deltas(),
                    gradContext,
                    context,
                    logSums,
                    qkv,
                    starts.storage(),
                    contexts,
                    sequences,
                    s.heads(),
                    s.groups(),
                    byHead);
            stream.launch(
                    kernel("flash_attention_grad_key_", s, qkv),
                    tiles,
                    s.groups() * work.parts(),
                    THREADS,
                    gradKeyShared(s.headSize()),
                    gradQkv,
                    work.sums(),
                    work.parts(),
                    work.deltas(),
                    gradContext,
                    logSums,
                    qkv,
                    starts.storage(),
                    contexts,
                    sequences,
                    s.heads(),
                    s.groups(),
                    byHead);
            if (work.sums() != null) {
                stream.each(
                        "flash_sum_parts" + Stream.suffix(qkv.dtype()),
                        qkv.rows() * s.cacheWidth(),
                        gradQkv,
                        work.sums(),
                        work.parts(),
                        qkv.rows(),
                        s.heads(),
                        s.groups(),
                        s.headSize(),
                        byHead);
            }
        }
    }

    private static String kernel(String name, AttentionShape s, Tensor qkv) {
        return name + s.headSize() + Stream.suffix(qkv.dtype());
    }
}
