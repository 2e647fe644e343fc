package org.shardloom.protocol.config;

/**
 * How the learning rate changes over a run. At most one of the two warm-ups is above 0.
 *
 * @param type the curve after the warm-up
 * @param warmupSteps steps over which the rate rises to its peak
 * @param warmupRatio the same as a fraction of all steps
 */
public record ScheduleConfig(Type type, int warmupSteps, double warmupRatio) {

    /** The curve after the warm-up. */
    public enum Type {
        /** Stays at the peak. */
        CONSTANT,
        /** Falls to 0 in a straight line. */
        LINEAR,
        /** Falls to 0 along half a cosine. */
        COSINE
    }
}
