package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A group that notes what it is asked for: where gradients are reduced to, and where gathered slices come from. */
record CountedCollectives(Collectives inner, List<Long> reductions, List<Long> gathers) implements Collectives {

    static CountedCollectives over(Collectives inner) {
        return new CountedCollectives(inner, new ArrayList<>(), new ArrayList<>());
    }

    @Override
    public int rank() {
        return inner.rank();
    }

    @Override
    public int size() {
        return inner.size();
    }

    @Override
    public String transport() {
        return inner.transport();
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return inner.allocateCommon(dtype, shape);
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return inner.allocateShared(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        gathers.add(slice.address());
        return inner.allGather(full, slice);
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        reductions.add(sum.address());
        return inner.reduceScatter(sum, full, dtype, accumulate);
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        throw new AssertionError("a step has no all-reduce of a tensor");
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        throw new AssertionError("a step has no broadcast");
    }

    @Override
    public Pending barrier() {
        return inner.barrier();
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        throw new AssertionError("a step has no exchange");
    }

    @Override
    public double[] sum(double... values) {
        return inner.sum(values);
    }

    @Override
    public void abort(String reason) {
        inner.abort(reason);
    }

    @Override
    public void close() {
        inner.close();
    }
}
