package org.shardloom.kernels.cuda;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUcontext;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Page-locked host memory, which a device copies to and from without the processor. Freed blocks of a size wait for the next of it: locking
 * pages takes long. Thread-safe.
 */
final class PinnedMemory implements Memory.Allocator, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(PinnedMemory.class);
    private static final long PAGE = 4096;
    private static final long GRANULE = 512;

    private final Calls calls;
    private final CUcontext context;
    /** Where the memory begins that a block lies in, by the block's address. */
    private final Map<Long, Long> origins = new HashMap<>();

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
            address = locked(size);
        }
        if (address == 0) {
            trim();
            address = locked(size);
        }
        if (address == 0) {
            throw new OutOfMemoryException("no page-locked host memory for " + bytes + " bytes of " + purpose
                    + "; in use: " + statistics.currentByPurpose());
        }
        statistics.allocated(counted(bytes), purpose);
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        free.computeIfAbsent(rounded(bytes), size -> new ArrayDeque<>()).push(address);
        statistics.released(counted(bytes), purpose);
    }

    /**
     * Pages of our own, locked: JCuda's binding of cuMemHostAlloc takes no blocks of 2 GiB and more.
     *
     * @return the address, or 0 where there are no more
     */
    private long locked(long size) {
        long origin = NativeCpu.allocate(size + PAGE);
        if (origin == 0) {
            return 0;
        }
        long address = (origin + PAGE - 1) / PAGE * PAGE;
        enter();
        int result = JCudaDriver.cuMemHostRegister(HostPointer.direct(address), size, 0);
        if (result != CUresult.CUDA_SUCCESS) {
            NativeCpu.release(origin, size + PAGE);
            if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
                return 0;
            }
            calls.check(result, "cuMemHostRegister", Long.toHexString(address), size);
        }
        origins.put(address, origin);
        return address;
    }

    /** Gives back all that waits, when no copy can be under way any more. */
    synchronized void trim() {
        if (free.values().stream().allMatch(ArrayDeque::isEmpty)) {
            return;
        }
        enter();
        // A device that has failed, which is what an error would say, copies nothing any more.
        JCudaDriver.cuCtxSynchronize();
        free.forEach((size, blocks) -> blocks.forEach(address -> {
            // On a failed device as well: the pages go back all the same.
            int result = JCudaDriver.cuMemHostUnregister(HostPointer.direct(address));
            if (result != CUresult.CUDA_SUCCESS) {
                LOG.warn("{}: cuMemHostUnregister returned {}", calls.device(), CUresult.stringFor(result));
            }
            NativeCpu.release(origins.remove(address), size + PAGE);
        }));
        free.clear();
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    @Override
    public void close() {
        trim();
    }

    /** As a plan counts. */
    private static long counted(long bytes) {
        return Math.max(1, (bytes + GRANULE - 1) / GRANULE) * GRANULE;
    }

    /** Whole pages: none is locked twice. */
    private static long rounded(long bytes) {
        return Math.max(1, (bytes + PAGE - 1) / PAGE) * PAGE;
    }
}
