package org.shardloom.kernels.plan;

import java.nio.ByteBuffer;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.device.CachingAllocator;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.PageLockedAllocator;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A device on paper: it allocates without limit, counts what is in use, and computes nothing. What is read from it is zero. An engine that
 * runs on it does all that it would do on a real one but the arithmetic, in milliseconds.
 */
public final class PlanDevice implements Device {
    /** What a device's buffers for small copies take of page-locked memory. */
    private static final long STAGING = CudaDevice.STAGING_BYTES;

    private final CachingAllocator memory = new CachingAllocator(new PlanMemory());
    /** Null where memory is the host's. */
    private final PageLockedAllocator host;

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
        host = sharesHostMemory ? null : new PageLockedAllocator(new PaperPages());
        if (host != null) {
            host.allocate(STAGING, Purpose.WORKSPACE);
        }
        ops = new PlanOps(work, sharesHostMemory ? null : memory, memory.lasting());
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
        return host == null;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return new Memory(host == null ? memory : host, purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return host == null ? memory.statistics() : host.statistics();
    }

    /** The most page-locked host memory that a device would be asked for at once. */
    public long pageLockedPeakBytes() {
        return host == null ? 0 : host.peakBytes();
    }

    /** Pages from nowhere. */
    private static final class PaperPages implements PageLockedAllocator.Source {
        private long next = PageLockedAllocator.PAGE;

        @Override
        public long lock(long bytes) {
            long address = next;
            next += bytes;
            return address;
        }

        @Override
        public void settle() {}

        @Override
        public void unlock(long address, long bytes) {}
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
