package org.shardloom.coordinator.run;

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
 */
public record RunSettings(
        int workers,
        int minWorkers,
        boolean allowReplacement,
        long checkpointEvery,
        double minStepSeconds,
        long joinTimeoutMillis,
        String outputDir,
        String resume) {
    /** Workers that the run cannot do without. */
    int leastWorkers() {
        return Math.max(1, minWorkers);
    }
}
