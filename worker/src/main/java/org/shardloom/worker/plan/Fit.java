package org.shardloom.worker.plan;

import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.model.DecoderConfig;

/**
 * A job on GPUs.
 *
 * @param job as planned
 * @param plan what it needs
 * @param gpus what there is
 * @param estimate of the slowest rank's step
 */
public record Fit(JobConfig job, JobPlan plan, Gpus gpus, StepEstimate estimate) {
    /** What the driver's context, cuBLAS (but for its workspace) and NCCL take of a GPU besides: an estimate. */
    public static final long RESERVED = 768L << 20;

    public static Fit of(JobConfig job, DecoderConfig model, Gpus gpus) {
        return of(job, model, gpus, job.data().maxLength());
    }

    /**
     * With samples of another length.
     *
     * @param length tokens of the longest sample
     */
    public static Fit of(JobConfig job, DecoderConfig model, Gpus gpus, int length) {
        JobPlan plan = Planner.plan(job, model, length);
        StepEstimate slowest = null;
        for (RankPlan rank : plan.ranks()) {
            StepEstimate own = StepEstimate.of(job, rank.work(), gpus.card());
            slowest = slowest == null || own.seconds() > slowest.seconds() ? own : slowest;
        }
        return new Fit(job, plan, gpus, slowest);
    }

    /** Whether every rank's peak and what is reserved are within a GPU's memory. */
    public boolean fits() {
        return plan.devicePeakBytes() + RESERVED <= gpus.memoryBytes();
    }
}
