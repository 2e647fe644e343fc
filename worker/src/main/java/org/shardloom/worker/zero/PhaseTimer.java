package org.shardloom.worker.zero;

import java.util.LinkedHashMap;
import java.util.Map;

/** Wall time by phase; a phase lasts until the next one begins. */
final class PhaseTimer {
    private final Map<String, Double> seconds = new LinkedHashMap<>();
    private String phase;
    private long since;

    /** Ends the phase under way and begins this one; returns what was under way. */
    String begin(String next) {
        long now = System.nanoTime();
        String before = phase;
        if (phase != null) {
            seconds.merge(phase, (now - since) * 1e-9, Double::sum);
        }
        phase = next;
        since = now;
        return before;
    }

    Map<String, Double> end() {
        begin(null);
        return seconds;
    }
}
