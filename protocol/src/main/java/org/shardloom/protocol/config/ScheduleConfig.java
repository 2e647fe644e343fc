package org.shardloom.protocol.config;

import java.util.Optional;

/**
 * How the learning rate changes over a run. At most one of the two warm-ups is above 0.
 *
 * @param type the curve after the warm-up
 * @param warmupSteps steps over which the rate rises to its peak
 * @param warmupRatio the same as a fraction of all steps
 */
public record ScheduleConfig(Type type, int warmupSteps, double warmupRatio) {
    /** Why the rate may be 0 in every step, and what helps. */
    public static final String NEVER_ABOVE_ZERO =
            "the learning rate %s 0 in every step. A schedule that decays ends at 0; take more steps"
                    + " (train.max_steps), train.schedule.warmup_steps: 1 or train.schedule.type: constant";

    /** The curve after the warm-up. */
    public enum Type {
        /** Stays at the peak. */
        CONSTANT,
        /** Falls to 0 in a straight line. */
        LINEAR,
        /** Falls to 0 along half a cosine. */
        COSINE
    }

    /** A rate that stays at its peak. */
    public static ScheduleConfig constant() {
        return new ScheduleConfig(Type.CONSTANT, 0, 0);
    }

    /**
     * That a run would train nothing: its only step is the last one, at which the rate has fallen to 0.
     *
     * @param totalSteps optimizer steps of the whole run
     */
    public Optional<String> warning(long totalSteps) {
        boolean never = totalSteps == 1 && type != Type.CONSTANT && warmupSteps == 0 && warmupRatio == 0;
        return never ? Optional.of("nothing will be trained: " + NEVER_ABOVE_ZERO.formatted("is")) : Optional.empty();
    }
}
