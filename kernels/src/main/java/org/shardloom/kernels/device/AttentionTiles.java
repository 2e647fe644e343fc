package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * How a GPU's attention is cut into blocks, and what memory its backward pass takes beside its operands: the same for the device that
 * computes it and for one that plans it.
 */
public final class AttentionTiles {
    /** Queries, or keys, that a block owns. */
    public static final int ROWS = 64;

    private static final int ALIGNMENT = 16;
    /** Blocks that make most of a card's multiprocessors work, two on each of 108. */
    private static final int ENOUGH = 192;

    private AttentionTiles() {}

    /** Whether there are kernels for tensor cores for heads of the shape and the dtype of the tensors, all of one; null ones do not count. */
    public static boolean onTensorCores(AttentionShape s, Tensor... tensors) {
        for (Tensor tensor : tensors) {
            if (tensor != null && (tensor.dtype() == DType.F32 || tensor.address() % ALIGNMENT != 0)) {
                return false;
            }
        }
        return s.headSize() == 64 || s.headSize() == 128;
    }

    /** Whether there are kernels for tensor cores for heads of the shape and the dtype, where tensors begin as the device's allocator has them. */
    public static boolean onTensorCores(AttentionShape s, DType dtype) {
        return onTensorCores(s, new Tensor(0, dtype, 0));
    }

    /** No sequences can have more tiles: each has one that is not full at most. */
    public static long tiles(long tokens, int sequences) {
        return (tokens + (ROWS - 1L) * sequences) / ROWS;
    }

    /**
     * Among how many blocks the heads of a group are shared out for the gradients of a tile of its keys: as few as make {@link #ENOUGH}
     * blocks, or one for each head. It depends on sizes only, not on the card: so do the bits of the sums.
     */
    public static int parts(long tiles, AttentionShape s) {
        int perGroup = s.heads() / s.groups(), parts = 1;
        while (parts < perGroup && (tiles * s.groups() * parts < ENOUGH || perGroup % parts != 0)) {
            parts++;
        }
        return parts;
    }

    /**
     * What a backward pass takes.
     *
     * @param deltas fp32 [T, heads]
     * @param sums fp32 [parts * T, 2 groups * headSize], gradients of keys and values by part; null for one part
     */
    public record Workspace(Tensor deltas, Tensor sums, int parts) {}

    /** Allocates what a backward pass takes. */
    public static Workspace workspace(
            Memory scope, Tensor qkv, IndexTensor starts, AttentionShape s, Tensor... others) {
        Tensor deltas = scope.allocate(DType.F32, qkv.rows(), s.heads());
        boolean cut = onTensorCores(s, qkv) && onTensorCores(s, others);
        int parts = cut ? parts(tiles(qkv.rows(), starts.count() - 1), s) : 1;
        Tensor sums = parts == 1 ? null : scope.allocate(DType.F32, parts * qkv.rows(), s.cacheWidth());
        return new Workspace(deltas, sums, parts);
    }
}
