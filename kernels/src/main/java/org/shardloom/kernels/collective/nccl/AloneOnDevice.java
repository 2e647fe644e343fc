package org.shardloom.kernels.collective.nccl;

import static org.shardloom.kernels.device.Shapes.require;

import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A group of one rank on a GPU, which needs no NCCL: every operation is a copy or a sum, in the communication stream. */
public final class AloneOnDevice implements Collectives {
    private final CommunicationStream stream;
    private final Memory shared;

    /** The device outlives the group. */
    public AloneOnDevice(CudaDevice device) {
        stream = device.communication();
        shared = device.uncountedMemory(Purpose.GRADIENTS);
    }

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

    /** None: what is done with such memory is done by the host. */
    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return null;
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return shared.allocate(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        require(full.bytes() == slice.bytes(), "%s is not the size of %s", full, slice);
        return full.address() == slice.address()
                ? Pending.DONE
                : issue(() -> stream.copy(full.address(), slice.address(), slice.bytes()));
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        long n = sum.elements();
        if (n == 0 || (full == null && accumulate)) {
            return Pending.DONE;
        }
        return issue(() -> {
            if (full == null) {
                stream.clear(sum.address(), sum.bytes());
            } else {
                stream.sumRanks(sum.address(), accumulate, full.address(), dtype, n, 1, n);
            }
        });
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        require(tensor.dtype() == DType.F32, "all-reduce is over fp32, found %s", tensor);
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
        if (outgoing.isEmpty()) {
            return Pending.DONE;
        }
        return issue(() -> {
            for (int k = 0; k < outgoing.size(); k++) {
                Tensor from = outgoing.get(k).tensor();
                stream.copy(incoming.get(k).tensor().address(), from.address(), from.bytes());
            }
        });
    }

    /** At once in its place among what the compute stream is given. */
    private Pending issue(Runnable body) {
        stream.afterCompute().release();
        body.run();
        stream.beforeCompute();
        return Pending.DONE;
    }

    @Override
    public double[] sum(double... values) {
        return values.clone();
    }

    @Override
    public void abort(String reason) {}

    /** What was issued is awaited by then. */
    @Override
    public void close() {
        shared.close();
    }
}
