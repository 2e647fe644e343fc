package org.shardloom.worker.zero;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/**
 * The processor as a device with memory of its own: an operation whose operand is in the other memory, and a copy that begins or ends in
 * the wrong one, are failures, as they would be on a GPU. A copy to the host is not there before it is waited for.
 */
final class SplitDevice implements Device {
    private final CpuDevice cpu = new CpuDevice(1);
    private final Blocks device = new Blocks("device");
    private final Blocks host = new Blocks("host");
    private final Ops ops = checked(Ops.class, cpu.ops(), device, name -> {});
    private final HostOps hostOps;

    SplitDevice() {
        this(name -> {});
    }

    /** @param before is told of each operation of the host before it is done, by its name, on its thread */
    SplitDevice(Consumer<String> before) {
        hostOps = checked(HostOps.class, cpu.hostOps(), host, before);
    }

    /** Memory whose addresses are known. */
    private static final class Blocks implements Memory.Allocator {
        final MemoryStatistics statistics = new MemoryStatistics();
        private final String name;
        private final TreeMap<Long, Long> blocks = new TreeMap<>();

        Blocks(String name) {
            this.name = name;
        }

        @Override
        public synchronized long allocate(long bytes, Purpose purpose) {
            long address = NativeCpu.allocate(Math.max(64, bytes));
            blocks.put(address, Math.max(64, bytes));
            statistics.allocated(bytes, purpose);
            return address;
        }

        @Override
        public synchronized void release(long address, long bytes, Purpose purpose) {
            NativeCpu.release(address, blocks.remove(address));
            statistics.released(bytes, purpose);
        }

        synchronized void require(Tensor tensor) {
            Map.Entry<Long, Long> block = blocks.floorEntry(tensor.address());
            if (block == null || tensor.address() + tensor.bytes() > block.getKey() + block.getValue()) {
                throw new AssertionError(tensor + " is not in " + name + " memory");
            }
        }
    }

    private static <T> T checked(Class<T> type, T operations, Blocks memory, Consumer<String> before) {
        return type.cast(
                Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, arguments) -> {
                    for (Object argument : arguments) {
                        if (argument instanceof Tensor tensor) {
                            memory.require(tensor);
                        } else if (argument instanceof IndexTensor indices) {
                            memory.require(indices.storage());
                        } else if (argument instanceof Columns columns) {
                            memory.require(columns.matrix());
                        }
                    }
                    before.accept(method.getName());
                    try {
                        return method.invoke(operations, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                }));
    }

    @Override
    public String name() {
        return "split";
    }

    @Override
    public Ops ops() {
        return ops;
    }

    @Override
    public Memory memory(Purpose purpose) {
        return new Memory(device, purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return device.statistics;
    }

    @Override
    public boolean sharesHostMemory() {
        return false;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return new Memory(host, purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return host.statistics;
    }

    @Override
    public HostOps hostOps() {
        return hostOps;
    }

    @Override
    public Pending issued() {
        return () -> {};
    }

    @Override
    public Transfer toHost(Tensor to, Tensor source, Pending after) {
        after.await();
        host.require(to);
        device.require(source);
        long copy = NativeCpu.allocate(source.bytes());
        NativeCpu.copy(copy, source.address(), source.bytes());
        NativeCpu.fill(to.address(), 0xFF, to.bytes()); // NaN until it has arrived
        return new Transfer() {
            private boolean over;

            @Override
            public synchronized void await() {
                if (!over) {
                    over = true;
                    NativeCpu.copy(to.address(), copy, to.bytes());
                    NativeCpu.release(copy, to.bytes());
                }
            }

            @Override
            public void join() {}
        };
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor from, Pending after) {
        after.await();
        device.require(destination);
        host.require(from);
        return cpu.toDevice(destination, from);
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        device.require(destination);
        cpu.write(destination, source);
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        cpu.read(source, destination);
    }

    @Override
    public void synchronize() {}

    @Override
    public void close() {
        cpu.close();
    }
}
