package org.shardloom.kernels.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PageLockedAllocatorTest {
    private static final long PAGE = PageLockedAllocator.PAGE;

    /** Has so many bytes. */
    private static final class Pages implements PageLockedAllocator.Source {
        final Map<Long, Long> locked = new HashMap<>();
        final long limit;
        long next = PAGE;

        Pages(long limit) {
            this.limit = limit;
        }

        long bytes() {
            return locked.values().stream().mapToLong(Long::longValue).sum();
        }

        @Override
        public long lock(long bytes) {
            if (bytes() + bytes > limit) {
                return 0;
            }
            long address = next;
            next += bytes;
            locked.put(address, bytes);
            return address;
        }

        @Override
        public void settle() {}

        @Override
        public void unlock(long address, long bytes) {
            assertEquals(bytes, locked.remove(address));
        }
    }

    /** What steps ask for, a little more or less each time, does not lock pages anew each time. */
    @Test
    void smallBlocksOfManySizesTakeLittleMoreThanTheLargest() {
        Pages pages = new Pages(Long.MAX_VALUE);
        PageLockedAllocator allocator = new PageLockedAllocator(pages);
        for (long bytes = 1; bytes <= 128 * PAGE; bytes += 1000) {
            allocator.release(allocator.allocate(bytes, Purpose.WORKSPACE), bytes, Purpose.WORKSPACE);
        }
        assertEquals(256 * PAGE - PAGE, pages.bytes(), "1, 2, 4, ..., 128 pages");
        assertEquals(pages.bytes(), allocator.peakBytes());
        allocator.close();
        assertEquals(0, pages.bytes());
    }

    /** Most of a job's memory: not a page too much. */
    @Test
    void largeBlocksHaveAsManyPagesAsTheyNeed() {
        Pages pages = new Pages(Long.MAX_VALUE);
        try (PageLockedAllocator allocator = new PageLockedAllocator(pages)) {
            long bytes = 300 * PAGE + 1;
            long address = allocator.allocate(bytes, Purpose.OPTIMIZER);
            assertEquals(301 * PAGE, pages.bytes());
            allocator.release(address, bytes, Purpose.OPTIMIZER);
            assertEquals(address, allocator.allocate(300 * PAGE + 2, Purpose.OPTIMIZER));
        }
    }

    /** What waits for another use goes back before a block is refused. */
    @Test
    void whatWaitsIsGivenUpForWhatIsWanted() {
        Pages pages = new Pages(400 * PAGE);
        PageLockedAllocator allocator = new PageLockedAllocator(pages);
        long first = allocator.allocate(300 * PAGE, Purpose.OPTIMIZER);
        assertThrows(OutOfMemoryException.class, () -> allocator.allocate(350 * PAGE, Purpose.GRADIENTS));
        allocator.release(first, 300 * PAGE, Purpose.OPTIMIZER);
        assertTrue(allocator.allocate(350 * PAGE, Purpose.GRADIENTS) != 0);
        assertEquals(350 * PAGE, pages.bytes());
    }
}
