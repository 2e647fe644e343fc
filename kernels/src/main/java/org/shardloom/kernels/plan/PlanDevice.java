package org.shardloom.kernels.plan;

import java.nio.ByteBuffer;
import org.shardloom.kernels.device.CachingAllocator;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A device on paper: it allocates without limit, counts what is in use, and computes nothing. What is read from it is zero. An engine that
 * runs on it does all that it would do on a real one but the arithmetic, in milliseconds.
 */
public final class PlanDevice implements Device {
    private final CachingAllocator memory = new CachingAllocator(new PlanMemory());
    private final Memory.Allocator host;
    private final MemoryStatistics hostStatistics;
    private final Work work = new Work();
    private final Ops ops;
    private final HostOps hostOps = new PlanHostOps(work);

    /** A GPU, with memory of its own beside the host's. */
    public PlanDevice() {
        this(false);
    }

    /**
     * A GPU or a processor.
     *
     * @param sharesHostMemory as processors do
     */
    public PlanDevice(boolean sharesHostMemory) {
        PlanHostMemory own = new PlanHostMemory();
        host = sharesHostMemory ? memory : own;
        ops = new PlanOps(work, sharesHostMemory ? null : memory, memory.lasting());
        hostStatistics = sharesHostMemory ? memory.statistics() : own.statistics();
    }

    @Override
    public String name() {
        return "plan";
    }

    @Override
    public Ops ops() {
        return ops;
    }

    @Override
    public HostOps hostOps() {
        return hostOps;
    }

    /** What has been asked of the device so far. */
    public Work work() {
        return work;
    }

    @Override
    public Memory memory(Purpose purpose) {
        return new Memory(memory, purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return memory.statistics();
    }

    /** What a device would be asked for. */
    public CachingAllocator allocator() {
        return memory;
    }

    @Override
    public boolean sharesHostMemory() {
        return host == memory;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return new Memory(host, purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return hostStatistics;
    }

    @Override
    public Pending issued() {
        return () -> {};
    }

    @Override
    public Transfer toHost(Tensor to, Tensor source, Pending after) {
        requireSameSize(to, source);
        work.toHost(source.bytes());
        return Transfer.DONE;
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor from, Pending after) {
        requireSameSize(destination, from);
        work.toDevice(from.bytes());
        return Transfer.DONE;
    }

    private static void requireSameSize(Tensor to, Tensor from) {
        if (to.bytes() != from.bytes()) {
            throw new IllegalArgumentException(to + " does not have the size of " + from);
        }
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        if (destination.bytes() != source.remaining()) {
            throw new IllegalArgumentException(destination + " is not " + source.remaining() + " bytes");
        }
        work.toDevice(destination.bytes());
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        ByteBuffer to = destination.duplicate();
        while (to.hasRemaining()) {
            to.put((byte) 0);
        }
        work.toHost(source.bytes());
    }

    @Override
    public void synchronize() {}

    @Override
    public void close() {}
}
