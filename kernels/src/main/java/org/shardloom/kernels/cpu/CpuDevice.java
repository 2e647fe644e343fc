package org.shardloom.kernels.cpu;

import java.nio.ByteBuffer;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.device.Shapes;
import org.shardloom.kernels.tensor.Tensor;

/** The host's processor as a device. Operations run when they are issued, on the calling thread and its OpenMP threads. */
public final class CpuDevice implements Device {
    private final CpuMemory memory = new CpuMemory();
    private final Ops ops = new CpuOps();

    /** A device whose operations use that many threads when issued from the calling thread. */
    public CpuDevice(int threads) {
        NativeCpu.useThreads(threads);
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public Ops ops() {
        return ops;
    }

    @Override
    public Memory memory(Purpose purpose) {
        return new Memory(memory, purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return memory.statistics();
    }

    @Override
    public boolean sharesHostMemory() {
        return true;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return memory(purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return statistics();
    }

    @Override
    public HostOps hostOps() {
        return CpuHostOps.INSTANCE;
    }

    @Override
    public Pending issued() {
        return () -> {};
    }

    @Override
    public Transfer toHost(Tensor host, Tensor source, Pending after) {
        after.await();
        return copy(host, source);
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor host, Pending after) {
        after.await();
        return copy(destination, host);
    }

    private static Transfer copy(Tensor to, Tensor from) {
        Shapes.require(to.bytes() == from.bytes(), "%s does not have the size of %s", to, from);
        if (to.address() != from.address()) {
            NativeCpu.copy(to.address(), from.address(), from.bytes());
        }
        return Transfer.DONE;
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        check(destination, source);
        HostBytes.view(destination.address(), destination.bytes()).put(source.duplicate());
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        check(source, destination);
        destination.duplicate().put(HostBytes.view(source.address(), source.bytes()));
    }

    @Override
    public void synchronize() {}

    /** To the operating system. */
    @Override
    public void trim() {
        memory.trim();
    }

    @Override
    public void close() {
        memory.close();
    }

    private static void check(Tensor tensor, ByteBuffer buffer) {
        if (tensor.bytes() != buffer.remaining()) {
            throw new IllegalArgumentException(tensor + " is not " + buffer.remaining() + " bytes");
        }
    }
}
