package org.shardloom.kernels.collective;

import java.util.List;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A group of one rank on the CPU: every operation is a copy or a sum. */
public final class LocalCollectives implements Collectives {
    private final HostBlocks blocks = new HostBlocks();

    @Override
    public int rank() {
        return 0;
    }

    @Override
    public int size() {
        return 1;
    }

    @Override
    public String transport() {
        return "local";
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return blocks.allocate(dtype, shape);
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return blocks.allocate(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        if (full.address() != slice.address()) {
            NativeCpu.copy(full.address(), slice.address(), slice.bytes());
        }
        return Pending.DONE;
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        if (full == null) {
            if (!accumulate) {
                NativeCpu.fill(sum.address(), 0, sum.bytes());
            }
        } else {
            try (AddressList sources = new AddressList(full.address())) {
                NativeCpu.sumSources(sum.address(), accumulate, sources.address(), 1, dtype.code, sum.elements());
            }
        }
        return Pending.DONE;
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("all-reduce is over fp32, found " + tensor);
        }
        return Pending.DONE;
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return Pending.DONE;
    }

    @Override
    public Pending barrier() {
        return Pending.DONE;
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        for (int i = 0; i < outgoing.size(); i++) {
            Tensor from = outgoing.get(i).tensor();
            NativeCpu.copy(incoming.get(i).tensor().address(), from.address(), from.bytes());
        }
        return Pending.DONE;
    }

    @Override
    public double[] sum(double... values) {
        return values.clone();
    }

    @Override
    public void abort(String reason) {}

    @Override
    public void close() {
        blocks.close();
    }
}
