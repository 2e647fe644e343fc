package org.shardloom.kernels.cuda;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Attention on tensor cores (flash_attention.cu, flash_attention_backward.cu), for heads of 64 and 128 elements in bf16 and fp16: products of
 * 16-bit operands, probabilities among them, with fp32 sums. Whatever it does not take goes to the kernels that need no tensor cores.
 */
final class FlashAttention {
    /** Those of flash.cuh and of the files that include it. */
    static final int THREADS = 128, ROWS = 64, KEYS = 64, STEP = 32, PADDING = 8;

    private static final int ALIGNMENT = 16;
    /** Blocks that make most of a card's multiprocessors work, two on each of 108. */
    private static final int ENOUGH = 192;

    private final Stream stream;

    FlashAttention(Stream stream) {
        this.stream = stream;
    }

    /** Whether there are kernels for heads of the shape in the dtype of the tensors, all of one; null ones do not count. */
    static boolean takes(AttentionShape s, Tensor... tensors) {
        for (Tensor tensor : tensors) {
            if (tensor != null && (tensor.dtype() == DType.F32 || tensor.address() % ALIGNMENT != 0)) {
                return false;
            }
        }
        return s.headSize() == 64 || s.headSize() == 128;
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

    /** No sequences can have more tiles: each has one that is not full at most. */
    static long tiles(long tokens, int sequences) {
        return (tokens + (ROWS - 1L) * sequences) / ROWS;
    }

    /**
     * Among how many blocks the heads of a group are shared out for the gradients of a tile of its keys: as few as make {@link #ENOUGH}
     * blocks, or one for each head. It depends on sizes only, not on the card: so do the bits of the sums.
     */
    static int parts(long tiles, AttentionShape s) {
        int perGroup = s.heads() / s.groups(), parts = 1;
        while (parts < perGroup && (tiles * s.groups() * parts < ENOUGH || perGroup % parts != 0)) {
            parts++;
        }
        return parts;
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
                tiles(qkv.rows(), sequences),
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
        long tiles = tiles(qkv.rows(), sequences);
        try (Memory scope = stream.workspace()) {
            Tensor deltas = scope.allocate(DType.F32, qkv.rows(), s.heads());
            stream.launch(
                    kernel("flash_attention_grad_query_", s, qkv),
                    tiles,
                    s.heads(),
                    THREADS,
                    gradQueryShared(s.headSize()),
                    gradQkv,
                    deltas,
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
            int parts = parts(tiles, s);
            Tensor sums = parts == 1 ? null : scope.allocate(DType.F32, parts * qkv.rows(), s.cacheWidth());
            stream.launch(
                    kernel("flash_attention_grad_key_", s, qkv),
                    tiles,
                    s.groups() * parts,
                    THREADS,
                    gradKeyShared(s.headSize()),
                    gradQkv,
                    sums,
                    parts,
                    deltas,
                    gradContext,
                    logSums,
                    qkv,
                    starts.storage(),
                    contexts,
                    sequences,
                    s.heads(),
                    s.groups(),
                    byHead);
            if (sums != null) {
                stream.each(
                        "flash_sum_parts" + Stream.suffix(qkv.dtype()),
                        qkv.rows() * s.cacheWidth(),
                        gradQkv,
                        sums,
                        parts,
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
