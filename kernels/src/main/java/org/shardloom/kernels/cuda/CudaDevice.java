package org.shardloom.kernels.cuda;

import static org.shardloom.kernels.device.Shapes.require;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.CpuHostOps;
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
 * An NVIDIA GPU with its primary context, a compute stream, on which operations run in the order in which they are issued, and a stream for
 * copies in each direction. A call whose return code is not success is a {@link CudaException}; failures on the device come with a later call, as CUDA reports them.
 */
public final class CudaDevice implements Device {
    /** Page-locked memory through which Java's buffers go to a device and come back. */
    public static final int STAGING_BYTES = Staging.BYTES;

    private final Calls calls;
    private final CudaMemory driverMemory;
    private final CachingAllocator memory;
    private final PageLockedAllocator pinned;
    private final Events events;
    private final Stream stream;
    private final Copies copies;
    private final CudaOps ops;
    private final CommunicationStream communication;
    private final DeviceIdentity identity;
    /** What close does, last opened first. */
    private final Deque<AutoCloseable> open = new ArrayDeque<>();

    /**
     * Opens a device.
     *
     * @param index as the driver counts
     * @throws CudaException when the driver refuses
     */
    public CudaDevice(int index, KernelImages images) {
        calls = new Calls("cuda:" + index);
        Natives.load();
        try {
            calls.check(JCudaDriver.cuInit(0), "cuInit", 0);
            CUdevice device = new CUdevice();
            calls.check(JCudaDriver.cuDeviceGet(device, index), "cuDeviceGet", index);
            CUcontext context = new CUcontext();
            calls.check(JCudaDriver.cuDevicePrimaryCtxRetain(context, device), "cuDevicePrimaryCtxRetain", index);
            open.push(() -> calls.check(JCudaDriver.cuDevicePrimaryCtxRelease(device), "cuDevicePrimaryCtxRelease"));
            calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
            driverMemory = new CudaMemory(calls, context);
            memory = opened(new CachingAllocator(driverMemory, caches()));
            pinned = opened(new PageLockedAllocator(new PinnedPages(calls, context)));
            events = opened(new Events(calls, context));
            stream = opened(new Stream(calls, context, memory, pinned, events, images.image(architecture(device))));
            copies = opened(new Copies(calls, context, stream.stream, events));
            ops = opened(new CudaOps(stream));
            communication = opened(new CommunicationStream(stream, events));
            identity = DeviceIdentity.of(calls, device);
        } catch (RuntimeException e) {
            closeAll(e);
            throw e;
        }
    }

    /** {@code -Dshardloom.cuda.caching=false} shows tools such as compute-sanitizer, and the simulation's red zones, where each block ends. */
    private static boolean caches() {
        return Boolean.parseBoolean(System.getProperty("shardloom.cuda.caching", "true"));
    }

    private <T extends AutoCloseable> T opened(T part) {
        open.push(part);
        return part;
    }

    private String architecture(CUdevice device) {
        return "sm_" + attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
                + attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    }

    private int attribute(CUdevice device, int attribute) {
        int[] value = new int[1];
        calls.check(JCudaDriver.cuDeviceGetAttribute(value, attribute, device), "cuDeviceGetAttribute", attribute);
        return value[0];
    }

    @Override
    public String name() {
        return calls.device();
    }

    @Override
    public Ops ops() {
        return ops;
    }

    @Override
    public Memory memory(Purpose purpose) {
        return new Memory(memory, purpose);
    }

    /** A new scope of this device's memory that {@link #statistics} knows nothing of: its user counts it there himself. */
    public Memory uncountedMemory(Purpose purpose) {
        return new Memory(memory.uncounted(), purpose);
    }

    @Override
    public MemoryStatistics statistics() {
        return memory.statistics();
    }

    /** What the driver was asked for. */
    public CachingAllocator allocator() {
        return memory;
    }

    @Override
    public boolean sharesHostMemory() {
        return false;
    }

    @Override
    public Memory hostMemory(Purpose purpose) {
        return new Memory(pinned, purpose);
    }

    @Override
    public MemoryStatistics hostStatistics() {
        return pinned.statistics();
    }

    @Override
    public HostOps hostOps() {
        return CpuHostOps.INSTANCE;
    }

    @Override
    public Pending issued() {
        return copies.issued();
    }

    @Override
    public Transfer toHost(Tensor host, Tensor source, Pending after) {
        require(host.bytes() == source.bytes(), "%s does not have the size of %s", host, source);
        return copies.toHost(host.address(), source.address(), source.bytes(), after);
    }

    @Override
    public Transfer toDevice(Tensor destination, Tensor host, Pending after) {
        require(host.bytes() == destination.bytes(), "%s does not have the size of %s", host, destination);
        return copies.toDevice(destination.address(), host.address(), host.bytes(), after);
    }

    @Override
    public void write(Tensor destination, ByteBuffer source) {
        check(destination, source);
        stream.write(destination.address(), source);
    }

    @Override
    public void read(Tensor source, ByteBuffer destination) {
        check(source, destination);
        stream.read(source.address(), destination);
    }

    @Override
    public void synchronize() {
        stream.synchronize();
        copies.finish();
        communication.finish();
    }

    @Override
    public Optional<String> lost() {
        if (calls.lost().isEmpty()) {
            stream.look();
        }
        return calls.lost();
    }

    /** The stream that collectives run in. */
    public CommunicationStream communication() {
        return communication;
    }

    /** Bytes of the device's memory that nobody has, neither this process nor another. */
    public long freeBytes() {
        return driverMemory.freeBytes();
    }

    /** A new clock for what runs in the compute stream. */
    public LaunchTimer timer() {
        return new LaunchTimer(stream);
    }

    /** Which GPU of the world this is. */
    public DeviceIdentity identity() {
        return identity;
    }

    @Override
    public void reserve(long bytes) {
        memory.reserve(bytes);
    }

    @Override
    public void unreserve() {
        memory.unreserve();
    }

    /** To the driver. */
    @Override
    public void trim() {
        memory.trim();
        pinned.trim();
    }

    /** Waits for all that was issued, then gives everything back; goes on past what fails and throws the first failure. */
    @Override
    public void close() {
        RuntimeException failure = null;
        try {
            synchronize();
        } catch (RuntimeException e) {
            failure = e;
        }
        failure = closeAll(failure);
        if (failure != null) {
            throw failure;
        }
    }

    private RuntimeException closeAll(RuntimeException first) {
        RuntimeException failure = first;
        while (!open.isEmpty()) {
            try {
                open.pop().close();
            } catch (Exception e) {
                if (failure == null) {
                    failure = e instanceof RuntimeException own ? own : new IllegalStateException(e);
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        return failure;
    }

    private static void check(Tensor tensor, ByteBuffer buffer) {
        if (tensor.bytes() != buffer.remaining()) {
            throw new IllegalArgumentException(tensor + " is not " + buffer.remaining() + " bytes");
        }
    }
}
