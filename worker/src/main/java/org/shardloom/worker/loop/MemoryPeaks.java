package org.shardloom.worker.loop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.MemoryStatistics;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The most memory that a generation needed, in bytes: on its device, and resident of the whole process. Any thread. */
final class MemoryPeaks {
    private static final Logger LOG = LoggerFactory.getLogger(MemoryPeaks.class);

    /** Where a "5" makes the present resident memory the peak: proc(5), since Linux 4.0. */
    static final Path CLEAR_REFS = Path.of("/proc/self/clear_refs");

    private final MemoryStatistics device;

    MemoryPeaks(MemoryStatistics device) {
        this.device = device;
    }

    /** Begins anew: the peaks are what is in use now. Where Linux refuses that, the resident peak stays that of the process so far. */
    void reset() {
        device.resetPeak();
        try {
            Files.writeString(CLEAR_REFS, "5");
        } catch (IOException e) {
            LOG.info("host_memory_peak_bytes counts from the start of the process: {}", e.toString());
        }
    }

    long deviceBytes() {
        return device.peakBytes();
    }

    long residentBytes() {
        return NativeCpu.residentBytes(true);
    }
}
