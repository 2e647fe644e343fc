package org.shardloom.kernels.collective.shm;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Memory made by all ranks together, and where in it an operation's operands lie. Used by one thread at a time; all ranks call the
 * same methods in the same order.
 */
final class SharedBlocks implements AutoCloseable {
    private static final long NOTHING = -1;
    private static final long STAGED = -2;
    private final Phases phases;
    private final Windows windows;
    private final List<Segment[]> shared = new ArrayList<>();
    private final List<Segment> common = new ArrayList<>();

    SharedBlocks(Phases phases, Windows windows) {
        this.phases = phases;
        this.windows = windows;
    }

    /** Memory that is one and the same for all ranks. */
    Tensor allocateCommon(DType dtype, long... shape) {
        int rank = phases.rank();
        Segment segment = rank == 0 ? create(dtype, shape) : null;
        phases.begin(rank == 0 ? segment.fd() : 0);
        if (rank != 0) {
            segment = Segment.open(windows.pid(0), (int) phases.argument(0, 0));
        }
        phases.finish();
        common.add(segment);
        return new Tensor(segment.address(), dtype, shape);
    }

    /** Memory of this rank that the peers can read. */
    Tensor allocate(DType dtype, long... shape) {
        int rank = phases.rank();
        Segment[] segments = new Segment[phases.size()];
        segments[rank] = create(dtype, shape);
        phases.begin(segments[rank].fd());
        for (int r = 0; r < segments.length; r++) {
            if (r != rank) {
                segments[r] = Segment.open(windows.pid(r), (int) phases.argument(r, 0));
            }
        }
        phases.finish();
        shared.add(segments);
        return new Tensor(segments[rank].address(), dtype, shape);
    }

    private static Segment create(DType dtype, long... shape) {
        return Segment.create(Math.max(4096, new Tensor(0, dtype, shape).bytes()));
    }

    /**
     * Begins a phase with the place of this rank's operand.
     *
     * @param operand null: this rank has none
     * @return whether every operand can be read in place. Otherwise all must go through the windows, and this rank is done with the
     *     phase
     */
    boolean post(Tensor operand) {
        if (operand == null) {
            phases.begin(NOTHING);
        } else {
            int block = blockOf(operand);
            phases.begin(
                    block < 0 ? STAGED : block,
                    block < 0 ? 0 : operand.address() - own(block).address());
        }
        boolean inPlace = IntStream.range(0, phases.size()).noneMatch(r -> phases.argument(r, 0) == STAGED);
        if (!inPlace) {
            phases.done();
        }
        return inPlace;
    }

    private int blockOf(Tensor tensor) {
        for (int b = 0; b < shared.size(); b++) {
            if (own(b).contains(tensor.address(), tensor.bytes())) {
                return b;
            }
        }
        return -1;
    }

    private Segment own(int block) {
        return shared.get(block)[phases.rank()];
    }

    /** Where this rank reads the rank's operand of the current phase, which {@link #post} has begun; 0: it has none. */
    long address(int r) {
        int block = (int) phases.argument(r, 0);
        return block == NOTHING ? 0 : shared.get(block)[r].address() + phases.argument(r, 1);
    }

    @Override
    public void close() {
        shared.forEach(segments -> Arrays.stream(segments).forEach(Segment::close));
        common.forEach(Segment::close);
        shared.clear();
        common.clear();
    }
}
