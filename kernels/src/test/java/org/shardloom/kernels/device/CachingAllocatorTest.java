package org.shardloom.kernels.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Blocks never overlap, go back whole, and what a device is asked for is bounded. */
class CachingAllocatorTest {
    private static final long MB = 1 << 20;

    /** A device with so many bytes. */
    private static final class Limited implements CachingAllocator.Source {
        private final TreeMap<Long, Long> segments = new TreeMap<>();
        private final long limit;
        private long next = 2 * MB;
        private long taken;

        Limited(long limit) {
            this.limit = limit;
        }

        @Override
        public long take(long bytes) {
            if (taken + bytes > limit) {
                return 0;
            }
            long address = next;
            next += bytes + 2 * MB;
            taken += bytes;
            segments.put(address, bytes);
            return address;
        }

        @Override
        public void giveBack(List<CachingAllocator.Segment> back) {
            for (CachingAllocator.Segment segment : back) {
                assertEquals(segment.bytes(), segments.remove(segment.address()), "bytes of a segment that goes back");
                taken -= segment.bytes();
            }
        }

        @Override
        public String describe() {
            return "a device of " + limit + " bytes";
        }

        boolean holds(long address, long bytes) {
            Map.Entry<Long, Long> segment = segments.floorEntry(address);
            return segment != null && address + bytes <= segment.getKey() + segment.getValue();
        }
    }

    private record Held(long address, long bytes, Purpose purpose) {}

    @Test
    void blocksNeverOverlapWhateverTheOrder() {
        Random random = new Random(5);
        for (int round = 0; round < 20; round++) {
            Limited device = new Limited(Long.MAX_VALUE);
            CachingAllocator allocator = new CachingAllocator(device);
            List<Held> held = new ArrayList<>();
            TreeMap<Long, Long> used = new TreeMap<>();
            long sum = 0;
            for (int i = 0; i < 2000; i++) {
                if (held.isEmpty() || random.nextInt(5) < 3) {
                    Purpose purpose = Purpose.values()[random.nextInt(Purpose.values().length)];
                    long bytes = (long) Math.exp(random.nextDouble() * 18);
                    long address = allocator.allocate(bytes, purpose);
                    assertEquals(0, address % 512, "alignment");
                    assertTrue(device.holds(address, bytes), "within a segment");
                    Map.Entry<Long, Long> before = used.lowerEntry(address + bytes);
                    assertTrue(before == null || before.getKey() + before.getValue() <= address, "an overlap");
                    used.put(address, bytes);
                    held.add(new Held(address, bytes, purpose));
                    sum += (bytes + 511) / 512 * 512 + (bytes == 0 ? 512 : 0);
                } else {
                    Held one = held.remove(random.nextInt(held.size()));
                    used.remove(one.address);
                    allocator.release(one.address, one.bytes, one.purpose);
                    sum -= (one.bytes + 511) / 512 * 512 + (one.bytes == 0 ? 512 : 0);
                }
                assertEquals(sum, allocator.statistics().currentBytes());
            }
            held.forEach(one -> allocator.release(one.address, one.bytes, one.purpose));
            allocator.close();
            assertEquals(0, device.taken, "bytes that never went back");
            assertEquals(0, allocator.reservedBytes());
        }
    }

    /** Two units at a time, whatever their sizes, in the room of the two largest: embedding, layers and head as an engine gathers them. */
    @Test
    void unitsByTurnsNeedTheRoomOfTheLargestTwo() {
        for (int layers = 1; layers < 6; layers++) {
            CachingAllocator allocator = new CachingAllocator(new Limited(Long.MAX_VALUE));
            allocator.prepare(16 * MB, Purpose.GATHERED);
            long takes = allocator.takes();
            for (int step = 0; step < 3; step++) {
                long[] sizes = new long[2 * layers + 2];
                Arrays.fill(sizes, 6 * MB);
                sizes[0] = 10 * MB;
                sizes[layers + 1] = 10 * MB;
                long before = allocator.allocate(sizes[0], Purpose.GATHERED);
                for (int i = 1; i < sizes.length; i++) {
                    long next = allocator.allocate(sizes[i], Purpose.GATHERED);
                    allocator.release(before, sizes[i - 1], Purpose.GATHERED);
                    before = next;
                }
                allocator.release(before, sizes[sizes.length - 1], Purpose.GATHERED);
            }
            assertEquals(takes, allocator.takes(), "segments beside the one prepared");
        }
    }

    @Test
    void aFullDeviceGetsUnusedSegmentsBackBeforeItGivesUp() {
        CachingAllocator allocator = new CachingAllocator(new Limited(8 * MB));
        long first = allocator.allocate(6 * MB, Purpose.PARAMETERS);
        allocator.release(first, 6 * MB, Purpose.PARAMETERS);
        long second = allocator.allocate(8 * MB, Purpose.ACTIVATIONS);
        OutOfMemoryException e =
                assertThrows(OutOfMemoryException.class, () -> allocator.allocate(2 * MB, Purpose.WORKSPACE));
        assertTrue(e.getMessage().contains("2097152 bytes of WORKSPACE on a device of 8388608"), e.getMessage());
        assertTrue(e.getMessage().contains("ACTIVATIONS=8388608"), e.getMessage());
        allocator.release(second, 8 * MB, Purpose.ACTIVATIONS);
    }

    @Test
    void whatIsNotInUseCannotGoBack() {
        CachingAllocator allocator = new CachingAllocator(new Limited(8 * MB));
        long block = allocator.allocate(1000, Purpose.WORKSPACE);
        assertThrows(IllegalArgumentException.class, () -> allocator.release(block, 5000, Purpose.WORKSPACE));
    }

    @Test
    void aRangeStaysUntilItIsUnreserved() {
        CachingAllocator allocator = new CachingAllocator(new Limited(200 * MB));
        allocator.reserve(100 * MB);
        assertThrows(IllegalStateException.class, () -> allocator.reserve(MB));
        assertEquals(100 * MB, allocator.reservedBytes());
        allocator.trim();
        assertEquals(100 * MB, allocator.reservedBytes(), "what is reserved is kept");
        long first = allocator.allocate(60 * MB, Purpose.ACTIVATIONS);
        long small = allocator.allocate(100, Purpose.WORKSPACE);
        assertEquals(60 * MB, small - first, "the first place that is large enough");
        long lasting = allocator.allocate(2 * MB, Purpose.PARAMETERS);
        assertTrue(lasting < first || lasting >= first + 100 * MB, "what stays lies elsewhere");
        allocator.release(first, 60 * MB, Purpose.ACTIVATIONS);
        assertEquals(first, allocator.allocate(30 * MB, Purpose.WORKSPACE));
        assertEquals(2, allocator.takes());
        long beyond = allocator.allocate(90 * MB, Purpose.ACTIVATIONS);
        assertEquals(3, allocator.takes(), "what does not fit has a segment");
        allocator.release(beyond, 90 * MB, Purpose.ACTIVATIONS);
        allocator.release(first, 30 * MB, Purpose.WORKSPACE);
        allocator.release(small, 100, Purpose.WORKSPACE);
        allocator.unreserve();
        assertEquals(2 * MB, allocator.reservedBytes());
        allocator.reserve(50 * MB);
        assertEquals(52 * MB, allocator.reservedBytes());
    }

    @Test
    void onPaperARangeTellsHowLongItMustBe() {
        CachingAllocator allocator = new CachingAllocator(new Limited(Long.MAX_VALUE));
        allocator.reserveEndless();
        long first = allocator.allocate(10 * MB, Purpose.ACTIVATIONS);
        long second = allocator.allocate(5 * MB, Purpose.ACTIVATIONS);
        allocator.release(first, 10 * MB, Purpose.ACTIVATIONS);
        assertEquals(first, allocator.allocate(3 * MB, Purpose.ACTIVATIONS));
        allocator.release(second, 5 * MB, Purpose.ACTIVATIONS);
        assertEquals(16 * MB, allocator.rangeBytes(), "in whole pages");
        assertEquals(16 * MB, allocator.reservedPeakBytes());
    }

    @Test
    void withoutCachingEveryBlockIsTheDevices() {
        CachingAllocator allocator = new CachingAllocator(new Limited(10 * MB), false);
        allocator.reserve(20 * MB);
        long address = allocator.allocate(1000, Purpose.ACTIVATIONS);
        assertEquals(1000, allocator.reservedBytes(), "its very size");
        assertEquals(1024, allocator.statistics().currentBytes());
        allocator.release(address, 1000, Purpose.ACTIVATIONS);
        assertEquals(0, allocator.reservedBytes());
        assertEquals(0, allocator.statistics().currentBytes());
    }
}
