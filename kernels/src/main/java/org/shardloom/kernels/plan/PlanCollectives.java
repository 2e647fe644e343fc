package org.shardloom.kernels.plan;

import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A group on paper, of ranks that do all the same: bytes are counted as ring algorithms send them, (n - 1) / n of the whole from every rank
 * (Patarasuk and Yuan, 2009), and every sum over ranks is this rank's value as often as there are ranks.
 */
public final class PlanCollectives implements Collectives {
    /** Reductions of 16-bit operands are summed in fp32 through pieces of that many bytes, two by turns. */
    public static final long PIECE_BYTES = NcclCollectives.PIECE_BYTES;

    private final int rank;
    private final int size;
    private final Work work;
    private final Memory pieces;
    /** Null where ranks are on processors, or one is alone. */
    private final Memory hostSums;

    private Tensor hostBuffer;
    private final boolean common;
    private final boolean fixedOrder;

    /**
     * A rank of a group of that size on the device. Ranks on processors are on one host and share memory.
     *
     * @param fixedOrder whether GPUs send each other gradients as they are and add them in rank order; else NCCL adds, and is sent fp32
     */
    public PlanCollectives(int rank, int size, PlanDevice device, boolean fixedOrder) {
        this.rank = rank;
        this.size = size;
        this.work = device.work();
        this.pieces = device.memory(Purpose.WORKSPACE);
        this.common = device.sharesHostMemory();
        this.fixedOrder = fixedOrder;
        this.hostSums = size > 1 && !common ? device.hostMemory(Purpose.WORKSPACE) : null;
        if (size > 1 && !common) {
            pieces.allocate(DType.F32, 2 * PIECE_BYTES / 4);
        }
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public String transport() {
        return "plan";
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return common ? new Tensor(0, dtype, shape) : null;
    }

    /** On paper as well; its user counts it. */
    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return new Tensor(0, dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        if (full.elements() != slice.elements() * size || full.dtype() != slice.dtype()) {
            throw new IllegalArgumentException(full + " is not " + size + " times " + slice);
        }
        return sent(full.bytes() / size * (size - 1));
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        DType sent = fixedOrder || common ? dtype : DType.F32;
        return sent(sum.elements() * sent.bytes * (size - 1));
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        return sent(2 * tensor.bytes() / size * (size - 1));
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return sent(size == 1 ? 0 : tensor.bytes());
    }

    @Override
    public Pending barrier() {
        return Pending.DONE;
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        return sent(outgoing.stream().mapToLong(m -> m.tensor().bytes()).sum());
    }

    @Override
    public double[] sum(double... values) {
        if (hostSums != null) {
            hostBuffer = hostSums.atLeast(hostBuffer, (long) values.length * size * Double.BYTES);
        }
        double[] sums = values.clone();
        for (int i = 0; i < sums.length; i++) {
            sums[i] *= size;
        }
        return sums;
    }

    private Pending sent(long bytes) {
        work.send(bytes);
        return Pending.DONE;
    }

    @Override
    public void abort(String reason) {}

    @Override
    public void close() {
        pieces.close();
        if (hostSums != null) {
            hostSums.close();
        }
    }
}
