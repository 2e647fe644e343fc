package org.shardloom.kernels.collective;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Host memory that lives as long as its group. */
public final class HostBlocks implements AutoCloseable {
    private final List<Tensor> blocks = new ArrayList<>();

    /** Memory with undefined contents. */
    public Tensor allocate(DType dtype, long... shape) {
        long bytes = Math.max(64, new Tensor(0, dtype, shape).bytes());
        long address = NativeCpu.allocate(bytes);
        if (address == 0) {
            throw new OutOfMemoryException("no host memory for " + bytes + " bytes of collective buffers");
        }
        Tensor tensor = new Tensor(address, dtype, shape);
        blocks.add(tensor);
        return tensor;
    }

    @Override
    public void close() {
        blocks.forEach(block -> NativeCpu.release(block.address(), Math.max(64, block.bytes())));
        blocks.clear();
    }
}
