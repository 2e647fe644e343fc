package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;

class CpuMemoryTest {
    private final CpuMemory memory = new CpuMemory();

    @Test
    void aSizeClassIsAtMostAnEighthLargerThanWhatWasAskedFor() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int i = 0; i < 100_000; i++) {
            long bytes = random.nextLong() >>> 16 + random.nextInt(47);
            long size = CpuMemory.sizeClass(bytes);
            String what = bytes + " bytes are of class " + size + "; seed " + seed;
            assertTrue(size >= bytes && size % 64 == 0, what);
            assertTrue(size <= Math.max(64 + bytes, bytes + bytes / 8 + 1), what);
            assertEquals(size, CpuMemory.sizeClass(size), "a class is of its own class; " + what);
        }
        assertEquals(64, CpuMemory.sizeClass(0));
        assertEquals(1024, CpuMemory.sizeClass(1024));
        assertEquals(1152, CpuMemory.sizeClass(1025));
    }

    @Test
    void aReleasedBlockIsUsedAgainForTheSameClassOnly() {
        long first = memory.allocate(1000, Purpose.WORKSPACE);
        memory.release(first, 1000, Purpose.WORKSPACE);
        long smaller = memory.allocate(500, Purpose.WORKSPACE);
        long same = memory.allocate(1024, Purpose.PARAMETERS);
        assertNotEquals(first, smaller);
        assertEquals(first, same);
        memory.release(smaller, 500, Purpose.WORKSPACE);
        memory.release(same, 1024, Purpose.PARAMETERS);
        memory.close();
    }

    @Test
    void blocksInUseAreApartAlignedAndWritable() {
        Set<Long> addresses = new HashSet<>();
        long[] sizes = {0, 1, 64, 100, 4096, 1 << 20, (1 << 20) + 1, 5 << 20};
        for (long bytes : sizes) {
            for (int i = 0; i < 3; i++) {
                long address = memory.allocate(bytes, Purpose.ACTIVATIONS);
                assertTrue(addresses.add(address), bytes + " bytes twice at " + address);
                assertEquals(0, address % 64);
                NativeCpu.fill(address, addresses.size(), bytes);
            }
        }
        memory.close();
    }

    @Test
    void peaksAreKeptWithWhatTheyWereMadeOf() {
        long parameters = memory.allocate(1000, Purpose.PARAMETERS);
        long workspace = memory.allocate(300, Purpose.WORKSPACE);
        memory.release(workspace, 300, Purpose.WORKSPACE);
        long gradients = memory.allocate(200, Purpose.GRADIENTS);
        assertEquals(1200, memory.statistics().currentBytes());
        assertEquals(1300, memory.statistics().peakBytes());
        assertEquals(300, memory.statistics().peakByPurpose().get(Purpose.WORKSPACE));
        assertEquals(0, memory.statistics().peakByPurpose().get(Purpose.GRADIENTS));
        assertEquals(200, memory.statistics().currentByPurpose().get(Purpose.GRADIENTS));
        assertEquals(0, memory.statistics().currentByPurpose().get(Purpose.WORKSPACE));
        memory.statistics().resetPeak();
        assertEquals(1200, memory.statistics().peakBytes(), "what is in use");
        assertEquals(memory.statistics().currentByPurpose(), memory.statistics().peakByPurpose());
        memory.release(gradients, 200, Purpose.GRADIENTS);
        assertEquals(1200, memory.statistics().peakBytes());
        memory.release(parameters, 1000, Purpose.PARAMETERS);
        assertEquals(0, memory.statistics().currentBytes());
        memory.close();
    }

    @Test
    void closingGivesCachedMemoryBackToTheSystem() {
        long bytes = 64L << 20;
        long before = NativeCpu.residentBytes(false);
        long address = memory.allocate(bytes, Purpose.WORKSPACE);
        NativeCpu.fill(address, 1, bytes);
        memory.release(address, bytes, Purpose.WORKSPACE);
        assertTrue(NativeCpu.residentBytes(false) - before > bytes / 2, "a released block stays in the cache");
        memory.close();
        assertTrue(NativeCpu.residentBytes(false) - before < bytes / 2, "close frees it");
    }

    @Test
    void memoryThatIsNotThereIsRefusedWithTheAskersPurposeAndWhatIsInUse() {
        long held = memory.allocate(77, Purpose.OPTIMIZER);
        OutOfMemoryException refusal =
                assertThrows(OutOfMemoryException.class, () -> memory.allocate(1L << 60, Purpose.GATHERED));
        assertTrue(refusal.getMessage().contains("GATHERED"), refusal.getMessage());
        assertTrue(refusal.getMessage().contains("OPTIMIZER=77"), refusal.getMessage());
        assertEquals(77, memory.statistics().currentBytes());
        memory.release(held, 77, Purpose.OPTIMIZER);
        memory.close();
    }
}
