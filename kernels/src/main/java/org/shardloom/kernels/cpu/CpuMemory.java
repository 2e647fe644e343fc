package org.shardloom.kernels.cpu;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;

/**
 * Host memory with a cache of freed blocks by size class (eight classes to a power of two), so that steps do not fault pages in
 * again. Thread-safe.
 */
final class CpuMemory implements Memory.Allocator, AutoCloseable {
    private final Map<Long, ArrayDeque<Long>> free = new HashMap<>();
    private final MemoryStatistics statistics = new MemoryStatistics();

    MemoryStatistics statistics() {
        return statistics;
    }

    @Override
    public synchronized long allocate(long bytes, Purpose purpose) {
        long size = sizeClass(bytes);
        ArrayDeque<Long> blocks = free.get(size);
        long address = blocks == null || blocks.isEmpty() ? 0 : blocks.pop();
        if (address == 0) {
            address = NativeCpu.allocate(size);
        }
        if (address == 0) {
            trim();
            address = NativeCpu.allocate(size);
        }
        if (address == 0) {
            throw new OutOfMemoryException("no host memory for " + bytes + " bytes of " + purpose + "; in use: "
                    + statistics.currentByPurpose());
        }
        statistics.allocated(bytes, purpose);
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        free.computeIfAbsent(sizeClass(bytes), size -> new ArrayDeque<>()).push(address);
        statistics.released(bytes, purpose);
    }

    /** Gives all cached blocks back to the operating system. */
    synchronized void trim() {
        free.forEach((size, blocks) -> blocks.forEach(address -> NativeCpu.release(address, size)));
        free.clear();
    }

    @Override
    public void close() {
        trim();
    }

    static long sizeClass(long bytes) {
        long size = Math.max(64, bytes);
        long step = Math.max(64, Long.highestOneBit(size) >> 3);
        return (size + step - 1) / step * step;
    }
}
