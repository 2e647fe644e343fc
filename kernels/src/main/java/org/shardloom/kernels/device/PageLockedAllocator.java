package org.shardloom.kernels.device;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;

/**
 * Page-locked host memory in whole pages. Freed blocks of a size wait for the next of it: locking pages takes long. What a device and what a
 * plan ask their source for is the same, for both ask through this. Thread-safe.
 */
public final class PageLockedAllocator implements Memory.Allocator, AutoCloseable {
    /** What is locked together. */
    public static final long PAGE = 4096;

    private static final long GRANULE = 512;
    /** Workspace from here on has as many pages as it needs, smaller one a power of two. */
    private static final long LARGE = 1 << 20;

    /** Where pages come from. */
    public interface Source {
        /**
         * Locks pages.
         *
         * @return their address, or 0 where there are no more
         */
        long lock(long bytes);

        /** Before pages go back: until no copy can be under way any more. */
        void settle();

        /** Gives pages back. */
        void unlock(long address, long bytes);
    }

    private final Source source;
    private final Map<Long, ArrayDeque<Long>> free = new HashMap<>();
    private final MemoryStatistics statistics = new MemoryStatistics();
    private long locked;
    private long mostLocked;

    /** With nothing locked. */
    public PageLockedAllocator(Source source) {
        this.source = source;
    }

    /** What is in use. */
    public MemoryStatistics statistics() {
        return statistics;
    }

    /** The most that was locked at once, in use or waiting. */
    public synchronized long peakBytes() {
        return mostLocked;
    }

    @Override
    public synchronized long allocate(long bytes, Purpose purpose) {
        long size = pages(bytes, purpose);
        ArrayDeque<Long> blocks = free.get(size);
        long address = blocks == null || blocks.isEmpty() ? 0 : blocks.pop();
        if (address == 0) {
            address = lock(size);
        }
        if (address == 0) {
            trim();
            address = lock(size);
        }
        if (address == 0) {
            throw new OutOfMemoryException("no page-locked host memory for " + bytes + " bytes of " + purpose
                    + "; in use: " + statistics.currentByPurpose());
        }
        statistics.allocated(counted(bytes), purpose);
        return address;
    }

    private long lock(long size) {
        long address = source.lock(size);
        if (address != 0) {
            locked += size;
            mostLocked = Math.max(mostLocked, locked);
        }
        return address;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        free.computeIfAbsent(pages(bytes, purpose), size -> new ArrayDeque<>()).push(address);
        statistics.released(counted(bytes), purpose);
    }

    /** Gives back all that waits, when no copy can be under way any more. */
    public synchronized void trim() {
        if (free.values().stream().allMatch(ArrayDeque::isEmpty)) {
            return;
        }
        source.settle();
        free.forEach((size, blocks) -> blocks.forEach(address -> {
            source.unlock(address, size);
            locked -= size;
        }));
        free.clear();
    }

    @Override
    public void close() {
        trim();
    }

    private static long counted(long bytes) {
        return Math.max(1, (bytes + GRANULE - 1) / GRANULE) * GRANULE;
    }

    /** Whole ones: none is locked twice. Small workspace is of few sizes, so that what each step asks for anew is not locked for each size. */
    private static long pages(long bytes, Purpose purpose) {
        long pages = Math.max(1, (bytes + PAGE - 1) / PAGE);
        return PAGE
                * (purpose == Purpose.WORKSPACE && pages * PAGE < LARGE ? Long.highestOneBit(2 * pages - 1) : pages);
    }
}
