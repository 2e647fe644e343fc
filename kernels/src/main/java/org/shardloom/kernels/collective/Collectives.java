package org.shardloom.kernels.collective;

import java.util.List;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Operations over a group of ranks. One thread issues them; they run in order of issue, on a thread or stream of their own.
 * Operands must stay untouched until {@link Pending#await} has returned.
 */
public interface Collectives extends AutoCloseable {
    /** This rank, from 0. */
    int rank();

    /** Number of ranks. */
    int size();

    /** What carries the bytes: {@code local}, {@code shm}, {@code aeron}, {@code nccl}. */
    String transport();

    /**
     * Memory that every rank sees as one: what one writes, all read, after a {@link #barrier}. Every rank calls it in the same
     * order with the same shape. Freed when the group is closed.
     *
     * @return null where the ranks cannot share memory
     */
    Tensor allocateCommon(DType dtype, long... shape);

    /** What {@link #allocateCommon} has given is not read for a while: its pages need not stay in this process. */
    default void releaseCommon(Tensor tensor) {}

    /**
     * Memory of this rank that peers can read in place, so that collectives over it need no staging copy. Every rank calls it in
     * the same order with the same shape. Ordinary memory where ranks cannot share. Freed when the group is closed.
     */
    Tensor allocateShared(DType dtype, long... shape);

    /**
     * full[r * n .. (r + 1) * n) = slice of rank r.
     *
     * @param full [size * n]
     * @param slice [n], the same dtype; may be this rank's part of full
     */
    Pending allGather(Tensor full, Tensor slice);

    /**
     * As {@link #allGather(Tensor, Tensor)}, as soon as the copy to the slice is complete.
     *
     * @param arriving waited for by what gathers, not by the device
     */
    default Pending allGather(Tensor full, Tensor slice, Device.Transfer arriving) {
        arriving.await();
        return allGather(full, slice);
    }

    /**
     * Adds full[rank * n .. (rank + 1) * n) of every rank to sum, or to zero, one rank after the other in rank order, in fp32: how
     * contributions are grouped into calls does not change the result.
     *
     * @param sum fp32 [n]
     * @param full [size * n] of any dtype, or null: this rank contributes zeros
     * @param dtype of every rank's full
     * @param accumulate add to sum rather than overwrite it
     */
    Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate);

    /**
     * As {@link #reduceScatter(Tensor, Tensor, DType, boolean)}, as soon as the copy from the sum is complete.
     *
     * @param leaving waited for by what reduces, not by the device
     */
    default Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate, Device.Transfer leaving) {
        leaving.await();
        return reduceScatter(sum, full, dtype, accumulate);
    }

    /** Every rank's tensor becomes the sum over ranks; fp32, in place. */
    Pending allReduce(Tensor tensor);

    /** Every rank's tensor becomes the root's. */
    Pending broadcast(Tensor tensor, int root);

    /** Completes when every rank has issued it. */
    Pending barrier();

    /**
     * Point-to-point moves, all at once. Between a pair of ranks, the k-th outgoing tensor of one fills the k-th incoming tensor of
     * the other; their sizes must agree.
     */
    Pending exchange(List<Move> outgoing, List<Move> incoming);

    /** The sum over ranks of each element, in rank order, in double precision. Waits. */
    double[] sum(double... values);

    /** Ends every operation under way or issued later with the reason. Any thread. */
    void abort(String reason);

    @Override
    void close();

    /** One side of a move: a tensor and the rank at the other end. */
    record Move(int peer, Tensor tensor) {}
}
