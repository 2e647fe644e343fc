package org.shardloom.worker.zero;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.shardloom.worker.model.PassListener;

/** Wall time by phase; a phase lasts until the next one begins. */
final class PhaseTimer implements PassListener {
    private final Map<String, Double> seconds = new LinkedHashMap<>();
    private final Consumer<String> observer;
    private String phase;
    private long since;

    /** A timer that tells which phase begins; null at the end of the last. */
    PhaseTimer(Consumer<String> observer) {
        this.observer = observer;
    }

    /** Ends the phase under way and begins this one; returns what was under way. */
    String begin(String next) {
        long now = System.nanoTime();
        String before = phase;
        if (phase != null) {
            seconds.merge(phase, (now - since) * 1e-9, Double::sum);
        }
        phase = next;
        observer.accept(next);
        since = now;
        return before;
    }

    @Override
    public void forward() {
        begin("forward");
    }

    @Override
    public void backward() {
        begin("backward");
    }

    Map<String, Double> end() {
        begin(null);
        return seconds;
    }
}
