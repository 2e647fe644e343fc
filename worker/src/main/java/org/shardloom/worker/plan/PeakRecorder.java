package org.shardloom.worker.plan;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Purpose;

/** Largest sums of device memory by phase, and what the largest of all is made of. */
final class PeakRecorder {
    /** Before the first step. */
    static final String SETUP = "setup";

    private final MemoryStatistics statistics;
    private final Map<String, Long> byPhase = new LinkedHashMap<>();
    private Map<Purpose, Long> byPurpose = new EnumMap<>(Purpose.class);
    private long peak;
    private String phase = SETUP;

    PeakRecorder(MemoryStatistics statistics) {
        this.statistics = statistics;
    }

    /** A phase begins; null: a step has ended. */
    void begin(String next) {
        long most = statistics.peakBytes();
        if (phase != null) {
            byPhase.merge(phase, most, Math::max);
        }
        if (most > peak) {
            peak = most;
            byPurpose = statistics.peakByPurpose();
        }
        statistics.resetPeak();
        phase = next;
    }

    long peak() {
        return peak;
    }

    Map<Purpose, Long> byPurpose() {
        return byPurpose;
    }

    Map<String, Long> byPhase() {
        return byPhase;
    }
}
