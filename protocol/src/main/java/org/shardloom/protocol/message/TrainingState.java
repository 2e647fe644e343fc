package org.shardloom.protocol.message;

/**
 * What is the same on all ranks between steps, beside the weights.
 *
 * @param step optimizer steps done
 * @param updates steps whose update was applied
 * @param lossScale of fp16, 0 for the first
 * @param goodSteps since the scale changed
 * @param guard what is usual
 */
public record TrainingState(long step, long updates, double lossScale, int goodSteps, GuardState guard) {
    /** Before the first step. */
    public static final TrainingState START = new TrainingState(0, 0, 0, 0, GuardState.START);
}
