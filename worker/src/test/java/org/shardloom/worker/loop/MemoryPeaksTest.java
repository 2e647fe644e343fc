package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;

@Timeout(value = 20, unit = TimeUnit.SECONDS)
class MemoryPeaksTest {
    private static final long BYTES = 256L << 20;

    /** The resident peaks before and after a reset, with memory used and given back before it. */
    private static long[] residentPeaks() {
        try (CpuDevice device = new CpuDevice(1)) {
            MemoryPeaks peaks = new MemoryPeaks(device.statistics());
            try (Memory memory = device.memory(Purpose.WORKSPACE)) {
                device.ops().zero(memory.allocate(DType.F32, BYTES / 4));
                assertEquals(BYTES, peaks.deviceBytes());
            }
            device.trim();
            assertEquals(BYTES, peaks.deviceBytes());
            long before = peaks.residentBytes();
            peaks.reset();
            assertEquals(0, peaks.deviceBytes());
            return new long[] {before, peaks.residentBytes()};
        }
    }

    @Test
    void aResetForgetsWhatWasGivenBack() {
        long[] peaks = residentPeaks();
        assumeTrue(Files.isWritable(MemoryPeaks.CLEAR_REFS), MemoryPeaks.CLEAR_REFS + " is not there");
        assertTrue(peaks[1] < peaks[0] - BYTES / 2, peaks[0] + " bytes, then " + peaks[1]);
    }
}
