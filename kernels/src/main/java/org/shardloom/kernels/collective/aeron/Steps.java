package org.shardloom.kernels.collective.aeron;

import java.util.Arrays;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import org.shardloom.kernels.collective.AddressList;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Steps of the mesh, and the sums taken over what a step brings. */
final class Steps implements AutoCloseable {
    /** Scratch memory for the contributions of the peers to one step. */
    static final long SCRATCH_BYTES = 16L << 20;

    private final int rank;
    private final int size;
    private final Mesh mesh;
    private final Supplier<String> abortReason;
    private final HostBlocks blocks = new HostBlocks();
    private final long scratch;

    Steps(int rank, int size, Mesh mesh, Supplier<String> abortReason) {
        this.rank = rank;
        this.size = size;
        this.mesh = mesh;
        this.abortReason = abortReason;
        this.scratch = blocks.allocate(DType.F32, SCRATCH_BYTES / 4).address();
    }

    /** Elements [from, from + count) of the tensor; none when the count is negative. */
    static Tensor part(Tensor tensor, long from, long count) {
        return new Tensor(tensor.address() + from * tensor.dtype().bytes, tensor.dtype(), Math.max(0, count));
    }

    /** So many elements of each peer's contribution fit in the scratch memory. */
    long chunkElements(DType dtype) {
        return SCRATCH_BYTES / Math.max(1, size - 1) / dtype.bytes & -16;
    }

    /**
     * One step.
     *
     * @param out by peer: what to send; null: nothing goes to that peer
     * @param in by peer: where what it sends goes; null: nothing comes from that peer
     */
    void run(String name, IntFunction<Message> out, IntFunction<Message> in) {
        mesh.step(name, toPeers(out), toPeers(in), abortReason);
    }

    /**
     * One step: each rank's piece goes to that rank, and sum (+)= the sum in rank order of what is for this rank.
     *
     * @param sum fp32 [n], n at most {@link #chunkElements}
     * @param accumulate add to sum rather than overwrite it
     * @param dtype of the pieces
     * @param pieces by rank, this rank's included, whose shape is that of sum and which may be sum; null: no contribution
     */
    void reduce(String name, Tensor sum, boolean accumulate, DType dtype, IntFunction<Tensor> pieces) {
        long elements = sum.elements();
        IntFunction<Tensor> places =
                r -> new Tensor(scratch + (r < rank ? r : r - 1) * elements * dtype.bytes, dtype, elements);
        Message[] in = toPeers(r -> Message.of(places.apply(r)));
        mesh.step(name, toPeers(r -> pieces == null ? Message.none() : Message.of(pieces.apply(r))), in, abortReason);
        long[] sources = new long[size];
        int contributors = 0;
        for (int r = 0; r < size; r++) {
            if (r != rank && !in[r].isNothing()) {
                sources[contributors++] = places.apply(r).address();
            } else if (r == rank && pieces != null) {
                sources[contributors++] = pieces.apply(rank).address();
            }
        }
        if (contributors > 0) {
            try (AddressList list = new AddressList(Arrays.copyOf(sources, contributors))) {
                NativeCpu.sumSources(sum.address(), accumulate, list.address(), contributors, dtype.code, elements);
            }
        } else if (!accumulate) {
            NativeCpu.fill(sum.address(), 0, sum.bytes());
        }
    }

    private Message[] toPeers(IntFunction<Message> message) {
        Message[] messages = new Message[size];
        for (int r = 0; r < size; r++) {
            messages[r] = r == rank ? null : message.apply(r);
        }
        return messages;
    }

    @Override
    public void close() {
        blocks.close();
    }
}
