package org.shardloom.coordinator.run;

import org.shardloom.protocol.config.ScheduleConfig;

/**
 * What the state machine needs to know of a job.
 *
 * @param workers to begin with
 * @param minWorkers below which a run waits rather than goes on
 * @param allowReplacement start a new process for a lost worker
 * @param checkpointEvery steps; 0: only at the end or when stopped
 * @param minStepSeconds slows the run down
 * @param joinTimeoutMillis how long to wait for workers
 * @param outputDir where checkpoints go
 * @param resume checkpoint directory to begin with, or null
 * @param patience evaluations in a row without a lower loss after which training ends; 0: never
 * @param evaluations up to the checkpoint to begin with
 * @param schedule of the learning rate
 */
public record RunSettings(
        int workers,
        int minWorkers,
        boolean allowReplacement,
        long checkpointEvery,
        double minStepSeconds,
        long joinTimeoutMillis,
        String outputDir,
        String resume,
        int patience,
        EvaluationHistory evaluations,
        ScheduleConfig schedule) {
    /** A run that goes on to its last step, at the same learning rate. */
    public RunSettings(
            int workers,
            int minWorkers,
            boolean allowReplacement,
            long checkpointEvery,
            double minStepSeconds,
            long joinTimeoutMillis,
            String outputDir,
            String resume) {
        this(
                workers,
                minWorkers,
                allowReplacement,
                checkpointEvery,
                minStepSeconds,
                joinTimeoutMillis,
                outputDir,
                resume,
                0,
                EvaluationHistory.NONE,
                ScheduleConfig.constant());
    }

    /** Workers that the run cannot do without. */
    int leastWorkers() {
        return Math.max(1, minWorkers);
    }
}
