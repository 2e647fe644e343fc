package org.shardloom.kernels.collective.nccl;

import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Two pieces of device memory that operations go through, by turns. All of them run in one stream, so a piece is free for the next as soon
 * as that is issued.
 */
final class Pieces {
    private final Tensor memory;
    private final long bytes;
    private int turn;

    /** Two of that many bytes each. */
    Pieces(Memory memory, long bytes) {
        this.bytes = bytes;
        this.memory = memory.allocate(DType.F32, 2 * bytes / DType.F32.bytes);
    }

    /** Bytes in a piece. */
    long bytes() {
        return bytes;
    }

    /** The address of the piece whose turn it is. */
    long next() {
        turn = 1 - turn;
        return memory.address() + turn * bytes;
    }
}
