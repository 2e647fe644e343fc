package org.shardloom.worker.zero;

import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A group whose ranks share no memory as far as its user can see: everything is staged, as between hosts. */
record SeparateMemories(Collectives inner, Collectives own) implements Collectives {

    static SeparateMemories over(Collectives inner) {
        return new SeparateMemories(inner, new LocalCollectives());
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
        return null;
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return own.allocateShared(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        return inner.allGather(full, slice);
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        return inner.reduceScatter(sum, full, dtype, accumulate);
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        return inner.allReduce(tensor);
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return inner.broadcast(tensor, root);
    }

    @Override
    public Pending barrier() {
        return inner.barrier();
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        return inner.exchange(outgoing, incoming);
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
        own.close();
    }
}
