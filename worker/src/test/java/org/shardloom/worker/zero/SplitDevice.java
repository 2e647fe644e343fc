package org.shardloom.worker.zero;

import java.nio.ByteBuffer;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/** The processor as a device with memory of its own: what a GPU's user has to copy must be copied here too. */
final class SplitDevice implements Device {
    private final CpuDevice device = new CpuDevice(1);
    private final CpuDevice host = new CpuDevice(1);

    @Override
    public String name() {
        return "split";
    }

    @Override
    public Ops ops() {
        return device.ops();
    }

    @Override
    public Memory memory(Purpose purpose) {
        return device.memory(purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return device.statistics();
    }

    @Override
    public boolean sharesHostMemory() {
        return false;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return host.memory(purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return host.statistics();
    }

    @Override
    public HostOps hostOps() {
        return host.hostOps();
    }

    @Override
    public Transfer toHost(Tensor to, Tensor source) {
        return device.toHost(to, source);
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor from) {
        return device.toDevice(destination, from);
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        device.write(destination, source);
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        device.read(source, destination);
    }

    @Override
    public void synchronize() {}

    @Override
    public void close() {
        device.close();
        host.close();
    }
}
