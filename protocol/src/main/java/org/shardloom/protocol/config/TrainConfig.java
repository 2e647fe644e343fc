package org.shardloom.protocol.config;

/**
 * The optimizer steps of a run.
 *
 * @param epochs passes over the data; 0 when {@code maxSteps} decides
 * @param maxSteps optimizer steps; 0 when {@code epochs} decides
 * @param microBatchSize samples that one worker computes at once
 * @param globalBatchSize samples of one step, whatever the number of workers; a multiple of {@code microBatchSize}
 * @param learningRate the schedule's peak
 * @param schedule how the rate changes over the run
 * @param optimizer the update rule
 * @param maxGradNorm longest gradient that is applied whole; 0 never clips
 * @param lossReduction what a step's loss is divided by
 * @param minStepSeconds slows steps down to this, for demonstrations and fault tests
 * @param spike what is done about a step that is unlike those before
 * @param seed of every random choice in the run
 */
public record TrainConfig(
        int epochs,
        int maxSteps,
        int microBatchSize,
        int globalBatchSize,
        double learningRate,
        ScheduleConfig schedule,
        OptimizerConfig optimizer,
        double maxGradNorm,
        LossReduction lossReduction,
        double minStepSeconds,
        SpikeConfig spike,
        long seed) {

    /** Whether an update waits for the norm of all gradients: to clip them, or to look at the step before. */
    public boolean needsNorm() {
        return spike.needsNorm(maxGradNorm);
    }

    /** What a step's loss is divided by. */
    public enum LossReduction {
        /** All target tokens of the step. */
        TOKEN,
        /** Each micro-batch by its own target tokens, then the mean of these. */
        MICRO_BATCH
    }
}
