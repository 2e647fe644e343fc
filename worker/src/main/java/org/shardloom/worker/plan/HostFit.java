package org.shardloom.worker.plan;

import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.model.DecoderConfig;

/**
 * A job whose workers are all on one host, and the memory of that host. What is counted is what surely comes to be used, so that no job is
 * refused that would run: a worker's peak and its JVM, what ranks share but once.
 *
 * @param job as planned
 * @param plan what it needs
 * @param bytes of host memory that the workers need together, their JVMs included
 */
public record HostFit(JobConfig job, JobPlan plan, long bytes) {
    /** Resident memory of a worker's JVM with its libraries, without what the engine allocates. */
    public static final long JVM = 150L << 20;
    /** Pageable memory of a worker on a GPU, as plans show it: JVM, libraries, heap and buffers for files, as it was seen; an estimate. */
    public static final long PAGEABLE = 300_000_000;

    /**
     * Workers on the host's processors.
     *
     * @param length tokens of the longest sample
     */
    public static HostFit ofProcessors(JobConfig job, DecoderConfig model, int length) {
        return ofProcessors(job, Planner.planOnHost(job, model, length));
    }

    /** What they surely need, whatever other samples the longest meets in a micro-batch. */
    public static HostFit atLeastOfProcessors(JobConfig job, DecoderConfig model, int length) {
        return ofProcessors(job, Planner.planAtLeastOnHost(job, model, length));
    }

    private static HostFit ofProcessors(JobConfig job, JobPlan plan) {
        long bytes = 0;
        for (RankPlan rank : plan.ranks()) {
            // What is gathered are the pages of the other ranks, which these count as their own.
            bytes += JVM + rank.devicePeakBytes() - rank.devicePeakByPurpose().getOrDefault(Purpose.GATHERED, 0L);
        }
        return new HostFit(job, plan, bytes);
    }

    /** Workers on GPUs, of whose memory the plan tells. */
    public static HostFit ofGpus(JobConfig job, JobPlan plan) {
        return new HostFit(job, plan, plan.hostBytes() + JVM * job.workers());
    }
}
