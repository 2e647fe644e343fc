package org.shardloom.kernels.cuda;

import java.nio.ByteBuffer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.PageLockedAllocator;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;

/** Page-locked memory through which Java's buffers go to a device and come back, in the order of its compute stream. Used by one thread. */
final class Staging implements AutoCloseable {
    /** Larger buffers go in several pieces. */
    static final int BYTES = 1 << 20;

    private final Calls calls;
    private final CUcontext context;
    private final CUstream compute;
    private final Events events;
    private final Memory memory;
    private final long block;
    private int used;
    private Events.Event last;

    Staging(Calls calls, CUcontext context, CUstream compute, Events events, PageLockedAllocator pinned) {
        this.calls = calls;
        this.context = context;
        this.compute = compute;
        this.events = events;
        this.memory = new Memory(pinned, Purpose.WORKSPACE);
        this.block = memory.allocate(DType.F32, BYTES / 4).address();
    }

    /** Copies all that remains in the buffer, in the order of the compute stream, without waiting for what is before it. */
    void write(long address, ByteBuffer source) {
        ByteBuffer left = source.slice();
        while (left.hasRemaining()) {
            int bytes = Math.min(left.remaining(), BYTES);
            if (used + bytes > BYTES) {
                last.await();
                used = 0;
            }
            long at = block + used;
            HostBytes.view(at, bytes).put(left.slice(left.position(), bytes));
            enter();
            int result = JCudaDriver.cuMemcpyHtoDAsync(
                    Address.pointer(address + left.position()), HostPointer.of(at), bytes, compute);
            calls.check(result, "cuMemcpyHtoDAsync", Long.toHexString(address), bytes);
            last = events.record(compute);
            used += (bytes + 15) / 16 * 16;
            left.position(left.position() + bytes);
        }
    }

    /** Fills what remains of the buffer after all that was issued to the compute stream, which uses the block in order, and waits for it. */
    void read(long address, ByteBuffer destination) {
        ByteBuffer left = destination.slice();
        while (left.hasRemaining()) {
            int bytes = Math.min(left.remaining(), BYTES);
            int result = JCudaDriver.cuMemcpyDtoHAsync(
                    HostPointer.of(block), Address.pointer(address + left.position()), bytes, compute);
            calls.check(result, "cuMemcpyDtoHAsync", Long.toHexString(address), bytes);
            synchronize();
            used = 0;
            left.put(HostBytes.view(block, bytes));
        }
    }

    private void synchronize() {
        enter();
        calls.check(JCudaDriver.cuStreamSynchronize(compute), "cuStreamSynchronize");
        events.validate();
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    @Override
    public void close() {
        memory.close();
    }
}
