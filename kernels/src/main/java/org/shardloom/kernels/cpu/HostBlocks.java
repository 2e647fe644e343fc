package org.shardloom.kernels.cpu;

import java.util.LinkedHashMap;
import java.util.Map;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Host memory that is given back together. */
public final class HostBlocks implements AutoCloseable {
    private final Map<Long, Long> blocks = new LinkedHashMap<>();

    /**
     * Memory with undefined contents.
     *
     * @throws org.shardloom.kernels.device.OutOfMemoryException when there is not so much
     */
    public Tensor allocate(DType dtype, long... shape) {
        Tensor tensor = new Tensor(0, dtype, shape);
        return new Tensor(allocate(tensor.bytes()), dtype, shape);
    }

    /** The address of that many bytes, as {@link #allocate(DType, long...)} finds them. */
    public long allocate(long count) {
        long bytes = Math.max(64, count);
        long address = HostBytes.allocate(bytes);
        blocks.put(address, bytes);
        return address;
    }

    @Override
    public void close() {
        blocks.forEach(NativeCpu::release);
        blocks.clear();
    }
}
