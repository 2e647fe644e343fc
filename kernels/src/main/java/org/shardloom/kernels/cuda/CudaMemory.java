package org.shardloom.kernels.cuda;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;

/**
 * Device memory with a cache of freed blocks by size class (eight classes to a power of two). A block goes back to the cache when it is
 * released, though the stream may still use it: whoever gets it next uses it later on the same stream. Only when the driver has no more,
 * and at close, does the cache give blocks back to it. Thread-safe.
 */
final class CudaMemory implements Memory.Allocator, AutoCloseable {
    private static final long SMALLEST = 512;

    private final Calls calls;
    private final CUcontext context;
    private final Map<Long, ArrayDeque<Long>> free = new HashMap<>();
    private final MemoryStatistics statistics = new MemoryStatistics();
    private long cachedBytes;

    CudaMemory(Calls calls, CUcontext context) {
        this.calls = calls;
        this.context = context;
    }

    MemoryStatistics statistics() {
        return statistics;
    }

    @Override
    public synchronized long allocate(long bytes, Purpose purpose) {
        long address = take(bytes, purpose.toString());
        statistics.allocated(bytes, purpose);
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        give(address, bytes);
        statistics.released(bytes, purpose);
    }

    /** The same memory, for who counts it himself. */
    Memory.Allocator uncounted() {
        return new Memory.Allocator() {
            @Override
            public long allocate(long bytes, Purpose purpose) {
                return take(bytes, purpose.toString());
            }

            @Override
            public void release(long address, long bytes, Purpose purpose) {
                give(address, bytes);
            }
        };
    }

    private synchronized long take(long bytes, String purpose) {
        long size = sizeClass(bytes);
        ArrayDeque<Long> blocks = free.get(size);
        long address = 0;
        if (blocks != null && !blocks.isEmpty()) {
            address = blocks.pop();
            cachedBytes -= size;
        }
        if (address == 0) {
            address = fromDriver(size);
        }
        if (address == 0) {
            trim();
            address = fromDriver(size);
        }
        if (address == 0) {
            throw new OutOfMemoryException("%s has no %d bytes for %s; in use: %s, %d bytes in all; the driver has %s"
                    .formatted(
                            calls.device(),
                            bytes,
                            purpose,
                            statistics.currentByPurpose(),
                            statistics.currentBytes(),
                            driverMemory()));
        }
        return address;
    }

    private synchronized void give(long address, long bytes) {
        long size = sizeClass(bytes);
        free.computeIfAbsent(size, key -> new ArrayDeque<>()).push(address);
        cachedBytes += size;
    }

    /** Bytes that wait in the cache. */
    synchronized long cachedBytes() {
        return cachedBytes;
    }

    /** Waits for the device and gives the cache back to the driver. */
    synchronized void trim() {
        if (cachedBytes == 0) {
            return;
        }
        enter();
        // The stream may not be through with them.
        calls.check(JCudaDriver.cuCtxSynchronize(), "cuCtxSynchronize");
        free.forEach((size, blocks) -> {
            while (!blocks.isEmpty()) {
                long address = blocks.pop();
                cachedBytes -= size;
                calls.check(JCudaDriver.cuMemFree(Address.pointer(address)), "cuMemFree", Long.toHexString(address));
            }
        });
    }

    @Override
    public void close() {
        trim();
    }

    /** An address, or 0 where the driver has no more. */
    private long fromDriver(long size) {
        enter();
        CUdeviceptr pointer = new CUdeviceptr();
        int result = JCudaDriver.cuMemAlloc(pointer, size);
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            return 0;
        }
        calls.check(result, "cuMemAlloc", size);
        return Address.of(pointer);
    }

    private String driverMemory() {
        long[] left = new long[1], total = new long[1];
        calls.check(JCudaDriver.cuMemGetInfo(left, total), "cuMemGetInfo");
        return left[0] + " bytes left of " + total[0];
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    static long sizeClass(long bytes) {
        long size = Math.max(SMALLEST, bytes);
        long step = Math.max(SMALLEST, Long.highestOneBit(size) >> 3);
        return (size + step - 1) / step * step;
    }
}
