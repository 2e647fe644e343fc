package org.shardloom.worker.loop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/** The processor, of whose operations one may fail as if there were no heap left. */
final class ExhaustibleDevice implements Device {
    /** The name of the operation for which there is no heap from now on; null for none. */
    String failing;

    private final CpuDevice cpu = new CpuDevice(1);
    private final Ops ops = (Ops) Proxy.newProxyInstance(
            Ops.class.getClassLoader(), new Class<?>[] {Ops.class}, (proxy, method, arguments) -> {
                if (method.getName().equals(failing)) {
                    throw new OutOfMemoryError("Java heap space");
                }
                try {
                    return method.invoke(cpu.ops(), arguments);
                } catch (InvocationTargetException e) {
                    throw e.getCause();
                }
            });

    @Override
    public String name() {
        return cpu.name();
    }

    @Override
    public Ops ops() {
        return ops;
    }

    @Override
    public Memory memory(Purpose purpose) {
        return cpu.memory(purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return cpu.statistics();
    }

    @Override
    public boolean sharesHostMemory() {
        return cpu.sharesHostMemory();
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return cpu.hostMemory(purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return cpu.hostStatistics();
    }

    @Override
    public HostOps hostOps() {
        return cpu.hostOps();
    }

    @Override
    public Pending issued() {
        return cpu.issued();
    }

    @Override
    public Transfer toHost(Tensor host, Tensor source, Pending after) {
        return cpu.toHost(host, source, after);
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor host, Pending after) {
        return cpu.toDevice(destination, host, after);
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        cpu.write(destination, source);
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        cpu.read(source, destination);
    }

    @Override
    public void synchronize() {
        cpu.synchronize();
    }

    @Override
    public void close() {
        cpu.close();
    }
}
