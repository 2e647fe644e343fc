package org.shardloom.worker.optim;

import org.shardloom.protocol.config.ScheduleConfig;

/**
 * Learning rate by step. Warm-up: step k (from 1) uses rate * k / warmup; then constant, a straight line to 0 at the last step, or
 * half a cosine to 0 (Loshchilov and Hutter, 2017, without restarts).
 */
public final class LearningRate {
    private final double peak;
    private final ScheduleConfig.Type type;
    private final long warmup;
    private final long total;

    /**
     * A schedule over the run.
     *
     * @param total optimizer steps of the whole run
     */
    public LearningRate(double peak, ScheduleConfig schedule, long total) {
        this.peak = peak;
        this.type = schedule.type();
        this.total = total;
        this.warmup =
                schedule.warmupRatio() > 0 ? (long) Math.ceil(schedule.warmupRatio() * total) : schedule.warmupSteps();
    }

    /** Rate of the step, counted from 1. */
    public double at(long step) {
        if (step <= warmup) {
            return peak * step / warmup;
        }
        double progress = step >= total ? 1 : (double) (step - warmup) / (total - warmup);
        return switch (type) {
            case CONSTANT -> peak;
            case LINEAR -> peak * (1 - progress);
            case COSINE -> peak * 0.5 * (1 + Math.cos(Math.PI * progress));
        };
    }
}
