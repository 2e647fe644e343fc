package org.shardloom.kernels.plan;

import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Purpose;

/** Page-locked host memory on paper. */
final class PlanHostMemory implements Memory.Allocator {
    /** What a device's host memory is rounded up to. */
    private static final long GRANULE = 512;

    private final MemoryStatistics statistics = new MemoryStatistics();
    private long next = GRANULE;

    MemoryStatistics statistics() {
        return statistics;
    }

    @Override
    public synchronized long allocate(long bytes, Purpose purpose) {
        long address = next;
        next += rounded(bytes);
        statistics.allocated(rounded(bytes), purpose);
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        statistics.released(rounded(bytes), purpose);
    }

    private static long rounded(long bytes) {
        return Math.max(1, (bytes + GRANULE - 1) / GRANULE) * GRANULE;
    }
}
