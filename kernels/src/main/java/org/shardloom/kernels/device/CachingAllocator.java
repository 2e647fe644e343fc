package org.shardloom.kernels.device;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/**
 * Memory of a device in segments that are got from it once and cut into blocks: the smallest free block that is large enough is taken, what
 * is left of it stays free, and free neighbours become one again. A block is free as soon as it is released, though the device's stream may
 * still use it: whoever gets it next uses it later on the same stream. Only when the device has no more, and at close, do segments go back.
 * What it does depends on nothing but the calls, so that the same calls on paper tell what a device will be asked for. Thread-safe.
 *
 * <p>What comes and goes within a pass has other sizes in every pass, as samples have other lengths: in segments that were got for one
 * pass the blocks of the next would leave gaps. So an engine {@link #reserve}s one range for all of it, as long as the largest pass needs;
 * a pass begins with all of the range free, and takes the first place in it that is large enough.
 */
public final class CachingAllocator implements Memory.Allocator, AutoCloseable {
    /** Blocks are multiples of this: alignment for vector loads, and what devices align to. */
    private static final long GRANULE = 512;
    /** Up to this a block shares a segment with others of all kinds; larger ones have segments of their own size at first. */
    private static final long SMALL = 1 << 20;
    /** Segments are multiples of this, as devices' pages are. */
    private static final long PAGE = 2 << 20;

    /** Where no range is reserved, what comes and goes shares segments of this size, or its own where that is larger. */
    private static final long PASSING_SEGMENT = 64 << 20;
    /** Length of a range on paper, which has no end that matters. */
    private static final long ENDLESS = 1L << 44;

    /** Where segments come from. */
    public interface Source {
        /** Address of that many bytes, or 0 where there are no more. */
        long take(long bytes);

        /** Takes segments back: nothing that was issued uses them any more once this has waited for it. */
        void giveBack(List<Segment> segments);

        /** For messages: whose memory it is and what is left of it. */
        String describe();
    }

    /** Memory as the device gave it. */
    public record Segment(long address, long bytes) {}

    private enum Pool {
        /** Small blocks. */
        SMALL,
        /** What lives as long as the engine. */
        LASTING,
        /** Units' parameters while they are used, two at a time: one at each end of a segment, so that any two fit that fit by their sizes. */
        GATHERED,
        /** What comes and goes within a pass. */
        PASSING,
        /** The same, in the range that is reserved for it. */
        RANGE
    }

    private static final class Block {
        final long address;
        final Segment segment;
        final Pool pool;
        long bytes;
        boolean free = true;
        boolean counted;
        Block before;
        Block after;

        Block(long address, long bytes, Segment segment, Pool pool) {
            this.address = address;
            this.bytes = bytes;
            this.segment = segment;
            this.pool = pool;
        }

        boolean isWhole() {
            return free && before == null && after == null;
        }
    }

    private static final Comparator<Block> BY_SIZE =
            Comparator.<Block>comparingLong(b -> b.bytes).thenComparingLong(b -> b.address);
    private static final Comparator<Block> BY_ADDRESS = Comparator.comparingLong(b -> b.address);

    private final Source source;
    private final boolean caches;
    private final MemoryStatistics statistics = new MemoryStatistics();
    private final Map<Pool, TreeSet<Block>> free = new HashMap<>();
    private final Map<Long, Block> used = new HashMap<>();
    private long reserved;
    private long reservedPeak;
    private long takes;
    /** The range; null where none is reserved. */
    private Segment range;
    /** Bytes of an endless range that were in use at once; else -1. */
    private long extent = -1;

    public CachingAllocator(Source source) {
        this(source, true);
    }

    /**
     * Over a source of memory.
     *
     * @param caches false: every block is got from the source and given back by itself, which waits for the device each time; for tools that
     *     look for accesses past the end of blocks or after their release
     */
    public CachingAllocator(Source source, boolean caches) {
        this.source = source;
        this.caches = caches;
        for (Pool pool : Pool.values()) {
            free.put(pool, new TreeSet<>(pool == Pool.RANGE ? BY_ADDRESS : BY_SIZE));
        }
    }

    /** Bytes of the blocks in use, as they are rounded up, by purpose. */
    public MemoryStatistics statistics() {
        return statistics;
    }

    /** Bytes of all segments. */
    public synchronized long reservedBytes() {
        return reserved;
    }

    /** The most that {@link #reservedBytes} has been since the beginning or {@link #resetPeak}. */
    public synchronized long reservedPeakBytes() {
        return reservedPeak;
    }

    public synchronized void resetPeak() {
        reservedPeak = reserved;
    }

    /** Segments that were asked for so far. */
    public synchronized long takes() {
        return takes;
    }

    /** The same memory, of which {@link #statistics} knows nothing: its user counts it there himself. */
    public Memory.Allocator uncounted() {
        return new Memory.Allocator() {
            @Override
            public long allocate(long bytes, Purpose purpose) {
                return CachingAllocator.this.allocate(bytes, purpose, poolOf(bytes, purpose), false);
            }

            @Override
            public void release(long address, long bytes, Purpose purpose) {
                CachingAllocator.this.release(address, bytes, purpose);
            }
        };
    }

    /**
     * Gets one range for all that comes and goes, until {@link #unreserve}.
     *
     * @throws OutOfMemoryException when the device does not have so much
     */
    public synchronized void reserve(long bytes) {
        if (bytes == 0 || !caches) {
            return;
        }
        if (range != null) {
            throw new IllegalStateException("a range is reserved already");
        }
        long size = rounded(bytes, PAGE);
        takes++;
        long address = source.take(size);
        if (address == 0) {
            trim();
            address = source.take(size);
        }
        if (address == 0) {
            throw outOfMemory(bytes, "what comes and goes within a step");
        }
        range(address, size);
        reserved += size;
        reservedPeak = Math.max(reservedPeak, reserved);
    }

    /** On paper: finds out by {@link #rangeBytes} how much to reserve. */
    public synchronized void reserveEndless() {
        range(source.take(ENDLESS), ENDLESS);
        extent = 0;
    }

    /** Bytes of the range that were in use at once, with the gaps between them: what to {@link #reserve} for the same calls. */
    public synchronized long rangeBytes() {
        return extent;
    }

    private void range(long address, long bytes) {
        range = new Segment(address, bytes);
        free.get(Pool.RANGE).add(new Block(address, bytes, range, Pool.RANGE));
    }

    /** The same memory, for what stays whatever its purpose is: not among what comes and goes. */
    public Memory.Allocator lasting() {
        return new Memory.Allocator() {
            @Override
            public long allocate(long bytes, Purpose purpose) {
                return CachingAllocator.this.allocate(bytes, purpose, Pool.LASTING, true);
            }

            @Override
            public void release(long address, long bytes, Purpose purpose) {
                CachingAllocator.this.release(address, bytes, purpose);
            }
        };
    }

    /** For messages: whose memory it is, and what holds it. */
    public synchronized String describe() {
        return "%s; in use: %s, %d bytes in all, %d reserved"
                .formatted(source.describe(), statistics.currentByPurpose(), statistics.currentBytes(), reserved);
    }

    @Override
    public synchronized void prepare(long bytes, Purpose purpose) {
        Pool pool = pool(bytes, purpose);
        if (caches && bytes > 0 && free.get(pool).ceiling(new Block(0, bytes, null, pool)) == null) {
            Block block = segment(pool, bytes);
            if (block != null) {
                free.get(pool).add(block);
            }
        }
    }

    @Override
    public long allocate(long bytes, Purpose purpose) {
        return allocate(bytes, purpose, poolOf(bytes, purpose), true);
    }

    private static Pool poolOf(long bytes, Purpose purpose) {
        return pool(rounded(bytes, GRANULE), purpose);
    }

    private synchronized long allocate(long bytes, Purpose purpose, Pool pool, boolean counted) {
        long size = rounded(bytes, GRANULE);
        if (!caches) {
            Block own = take(pool, Math.max(1, bytes));
            if (own == null) {
                throw outOfMemory(bytes, purpose.toString());
            }
            return inUse(own, size, purpose, counted);
        }
        Block block = range != null && pool != Pool.LASTING && passes(purpose) ? firstInRange(size) : null;
        if (block == null) {
            block = best(pool, size);
        }
        if (block == null) {
            block = segment(pool, size);
        }
        if (block == null) {
            trim();
            block = segment(pool, size);
        }
        if (block == null) {
            throw outOfMemory(bytes, purpose.toString());
        }
        return inUse(cut(block, size), size, purpose, counted);
    }

    private long inUse(Block block, long size, Purpose purpose, boolean counted) {
        block.free = false;
        block.counted = counted;
        used.put(block.address, block);
        if (counted) {
            statistics.allocated(size, purpose);
        }
        return block.address;
    }

    private OutOfMemoryException outOfMemory(long bytes, String what) {
        return new OutOfMemoryException("no room for %d bytes of %s on %s".formatted(bytes, what, describe()));
    }

    private Block best(Pool pool, long size) {
        Block block = free.get(pool).ceiling(new Block(0, size, null, pool));
        if (block != null) {
            free.get(pool).remove(block);
        }
        return block;
    }

    private Block firstInRange(long size) {
        TreeSet<Block> places = free.get(Pool.RANGE);
        for (Block place : places) {
            if (place.segment == range && place.bytes >= size) {
                places.remove(place);
                long end = rounded(place.address + size - range.address, PAGE);
                if (extent >= 0 && end > extent) {
                    reserved += end - extent;
                    reservedPeak = Math.max(reservedPeak, reserved);
                    extent = end;
                }
                return place;
            }
        }
        return null;
    }

    /** A segment for the block and others to come, or for it alone where there is no more; null where there is not even that. */
    private Block segment(Pool pool, long size) {
        long own = pool == Pool.SMALL ? PAGE : rounded(size, PAGE);
        Block block = take(pool, pool == Pool.PASSING ? Math.max(own, PASSING_SEGMENT) : own);
        return block == null && pool == Pool.PASSING ? take(pool, own) : block;
    }

    private Block take(Pool pool, long bytes) {
        takes++;
        long address = source.take(bytes);
        if (address == 0) {
            return null;
        }
        reserved += bytes;
        reservedPeak = Math.max(reservedPeak, reserved);
        return new Block(address, bytes, new Segment(address, bytes), pool);
    }

    /** Of a free block, the part that is used: its beginning, or in the last block of a segment of units its end. */
    private Block cut(Block block, long size) {
        if (block.bytes == size) {
            return block;
        }
        boolean atEnd = block.pool == Pool.GATHERED && block.after == null && block.before != null;
        long first = atEnd ? block.bytes - size : size;
        Block rest = new Block(block.address + first, block.bytes - first, block.segment, block.pool);
        rest.before = block;
        rest.after = block.after;
        if (rest.after != null) {
            rest.after.before = rest;
        }
        block.after = rest;
        block.bytes = first;
        free.get(block.pool).add(atEnd ? block : rest);
        return atEnd ? rest : block;
    }

    @Override
    public synchronized void release(long address, long bytes, Purpose purpose) {
        Block block = used.get(address);
        if (block == null || block.bytes != (caches ? rounded(bytes, GRANULE) : Math.max(1, bytes))) {
            throw new IllegalArgumentException(
                    bytes + " bytes at " + Long.toHexString(address) + " are not a block in use");
        }
        used.remove(address);
        if (block.counted) {
            statistics.released(rounded(bytes, GRANULE), purpose);
        }
        if (!caches) {
            reserved -= block.bytes;
            source.giveBack(List.of(block.segment));
            return;
        }
        block.free = true;
        if (block.after != null && block.after.free) {
            free.get(block.pool).remove(block.after);
            join(block, block.after);
        }
        if (block.before != null && block.before.free) {
            block = block.before;
            free.get(block.pool).remove(block);
            join(block, block.after);
        }
        free.get(block.pool).add(block);
    }

    private static void join(Block block, Block next) {
        block.bytes += next.bytes;
        block.after = next.after;
        if (block.after != null) {
            block.after.before = block;
        }
    }

    /** Gives segments back of which no block is in use; the range stays. */
    public synchronized void trim() {
        List<Segment> unused = new ArrayList<>();
        for (TreeSet<Block> blocks : free.values()) {
            blocks.removeIf(block -> {
                boolean goes = block.isWhole() && block.segment != range;
                if (goes) {
                    unused.add(block.segment);
                }
                return goes;
            });
        }
        if (!unused.isEmpty()) {
            unused.sort(Comparator.comparingLong(Segment::address));
            unused.forEach(segment -> reserved -= segment.bytes);
            source.giveBack(unused);
        }
    }

    /** Ends the reservation and gives back all that is not in use; blocks of the range that are, are others' neighbours until they are released. */
    public synchronized void unreserve() {
        if (extent >= 0) {
            reserved += ENDLESS - extent;
            extent = -1;
        }
        range = null;
        trim();
    }

    @Override
    public void close() {
        unreserve();
    }

    private static Pool pool(long size, Purpose purpose) {
        if (size <= SMALL) {
            return Pool.SMALL;
        }
        return passes(purpose) ? Pool.PASSING : purpose == Purpose.GATHERED ? Pool.GATHERED : Pool.LASTING;
    }

    private static boolean passes(Purpose purpose) {
        return purpose == Purpose.ACTIVATIONS || purpose == Purpose.WORKSPACE;
    }

    private static long rounded(long bytes, long unit) {
        return Math.max(1, (bytes + unit - 1) / unit) * unit;
    }
}
