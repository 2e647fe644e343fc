package org.shardloom.kernels.device;

import java.util.EnumMap;
import java.util.Map;

/** Counts allocated bytes by purpose and remembers the peak of the sum and what it was made of. Thread-safe. */
public final class MemoryStatistics {
    private final long[] current = new long[Purpose.values().length];
    private final long[] atPeak = new long[Purpose.values().length];
    private long total;
    private long peak;

    public synchronized void allocated(long bytes, Purpose purpose) {
        current[purpose.ordinal()] += bytes;
        total += bytes;
        if (total > peak) {
            peak = total;
            System.arraycopy(current, 0, atPeak, 0, current.length);
        }
    }

    public synchronized void released(long bytes, Purpose purpose) {
        current[purpose.ordinal()] -= bytes;
        total -= bytes;
    }

    /** Bytes in use now. */
    public synchronized long currentBytes() {
        return total;
    }

    /** Begins anew: the peak is what is in use now. */
    public synchronized void resetPeak() {
        peak = total;
        System.arraycopy(current, 0, atPeak, 0, current.length);
    }

    /** Largest sum since the beginning or the last reset. */
    public synchronized long peakBytes() {
        return peak;
    }

    /** What the peak was made of. */
    public synchronized Map<Purpose, Long> peakByPurpose() {
        return toMap(atPeak);
    }

    /** What is in use now. */
    public synchronized Map<Purpose, Long> currentByPurpose() {
        return toMap(current);
    }

    private static Map<Purpose, Long> toMap(long[] bytes) {
        Map<Purpose, Long> map = new EnumMap<>(Purpose.class);
        for (Purpose purpose : Purpose.values()) {
            map.put(purpose, bytes[purpose.ordinal()]);
        }
        return map;
    }
}
