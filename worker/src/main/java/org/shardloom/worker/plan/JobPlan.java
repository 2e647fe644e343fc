package org.shardloom.worker.plan;

import java.util.List;

/**
 * What a job needs.
 *
 * @param parameters of the model, without what the method adds
 * @param trainedParameters among them and added to them
 * @param ranks in order
 * @param checkpointBytes of one checkpoint on disk, but for a few kilobytes of headers
 * @param retainedBytes of all checkpoints that are there at once: those that are kept, and the one being written
 * @param finalBytes of what the run ends with in final/
 */
public record JobPlan(
        long parameters,
        long trainedParameters,
        List<RankPlan> ranks,
        long checkpointBytes,
        long retainedBytes,
        long finalBytes) {
    /** Of the rank that needs most. */
    public long devicePeakBytes() {
        return ranks.stream().mapToLong(RankPlan::devicePeakBytes).max().orElse(0);
    }

    /** Over all ranks. */
    public long hostBytes() {
        return ranks.stream().mapToLong(RankPlan::pinnedHostBytes).sum();
    }
}
