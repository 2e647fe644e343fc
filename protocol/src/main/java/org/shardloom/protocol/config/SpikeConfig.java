package org.shardloom.protocol.config;

/**
 * What is done about a step whose loss or gradient is not of the kind of those before.
 *
 * @param action before its update
 * @param factor times the usual gradient norm that is taken for an explosion
 */
public record SpikeConfig(Action action, double factor) {
    /** What is done. */
    public enum Action {
        /** The run ends with a checkpoint of the state before the step. */
        PAUSE,
        /** The step's update is left out; many in a row pause. */
        SKIP,
        /** Nothing. */
        IGNORE
    }

    /**
     * Whether an update waits for the norm of all gradients: to clip them, or to look at the step before.
     *
     * @param maxGradNorm of {@link TrainConfig}
     */
    public boolean needsNorm(double maxGradNorm) {
        return maxGradNorm > 0 || action != Action.IGNORE;
    }
}
