package org.shardloom.kernels.cuda;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;

/**
 * Page-locked host memory, which a device copies to and from without the processor. Freed blocks of a size wait for the next of it: locking
 * pages takes long. Thread-safe.
 */
final class PinnedMemory implements Memory.Allocator, AutoCloseable {
    private final Calls calls;
    private final CUcontext context;
    private final Map<Long, Pointer> pointers = new HashMap<>();
    private final Map<Long, ArrayDeque<Long>> free = new HashMap<>();
    private final MemoryStatistics statistics = new MemoryStatistics();

    PinnedMemory(Calls calls, CUcontext context) {
        this.calls = calls;
        this.context = context;
    }

    MemoryStatistics statistics() {
        return statistics;
    }

    @Override
    public synchronized long allocate(long bytes, Purpose purpose) {
        long size = rounded(bytes);
        ArrayDeque<Long> blocks = free.get(size);
        long address = blocks == null || blocks.isEmpty() ? 0 : blocks.pop();
        if (address == 0) {
            calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
            Pointer pointer = new Pointer();
            int result = JCudaDriver.cuMemHostAlloc(pointer, size, 0);
            if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
                throw new OutOfMemoryException(
                        "no page-locked host memory for " + bytes + " bytes of " + purpose + "; in use: "
                                + statistics.currentByPurpose() + ". ulimit -l and the host's free memory bound it");
            }
            calls.check(result, "cuMemHostAlloc", size);
            address = HostPointer.address(pointer);
            pointers.put(address, pointer);
        }
        statistics.allocated(size, purpose);
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        free.computeIfAbsent(rounded(bytes), size -> new ArrayDeque<>()).push(address);
        statistics.released(rounded(bytes), purpose);
    }

    /** Gives back all that waits. */
    @Override
    public synchronized void close() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
        free.values()
                .forEach(blocks -> blocks.forEach(address -> calls.check(
                        JCudaDriver.cuMemFreeHost(pointers.remove(address)),
                        "cuMemFreeHost",
                        Long.toHexString(address))));
        free.clear();
    }

    private static long rounded(long bytes) {
        return Math.max(1, (bytes + 511) / 512) * 512;
    }
}
