package org.shardloom.worker.plan;

import org.shardloom.kernels.plan.Work;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.Precision;

/**
 * Seconds of an optimizer step, from what a rank has to do and a card's rates: an estimate, which nobody has compared with a card. Matrix
 * products are expected to reach {@link #MATRIX_SHARE} of the peak and other operations {@link #MEMORY_SHARE} of the memory's bandwidth;
 * communication and copies go on meanwhile. The optimizer comes after, or where it need not wait for the norm of all gradients begins with the
 * last backward pass.
 *
 * @param compute seconds of operations on the card
 * @param communication seconds of collectives
 * @param copies seconds of copies between host and card, the longer way
 * @param optimizer seconds of AdamW on the host, which all ranks of a host share
 * @param ahead seconds before the rest is over from which on the optimizer is at work: the last backward pass, or 0
 */
public record StepEstimate(double compute, double communication, double copies, double optimizer, double ahead) {
    static final double MATRIX_SHARE = 0.5;
    static final double MEMORY_SHARE = 0.7;
    static final double LINK_SHARE = 0.8;
    /** Bytes a second that a host's memory moves. */
    static final double HOST_BANDWIDTH = 100e9;
    /** Bytes that AdamW reads and writes for a parameter. */
    private static final int ADAMW_BYTES = 30;
    /** Of a micro-batch's work, that of its backward pass: twice that of the forward pass, which is done once more where it is recomputed. */
    private static final double BACKWARD_SHARE = 2.0 / 3, RECOMPUTING_SHARE = 3.0 / 4;

    /** Of a rank; all ranks are taken to be on one host. */
    public static StepEstimate of(JobConfig job, Work work, Gpus.Card card) {
        boolean single = job.precision() == Precision.FP32;
        double flops = single ? card.singleTeraflops() : card.halfTeraflops();
        double compute = work.matrixFlops() / (MATRIX_SHARE * flops * 1e12)
                + work.memoryBytes() / (MEMORY_SHARE * card.memoryGigabytes() * 1e9);
        double communication = work.sentBytes() / (LINK_SHARE * card.peerGigabytes() * 1e9);
        double copies = Math.max(work.toHostBytes(), work.toDeviceBytes()) / (LINK_SHARE * card.hostGigabytes() * 1e9);
        double backward = job.gradientCheckpointing() ? RECOMPUTING_SHARE : BACKWARD_SHARE;
        int rounds = Planner.rounds(job);
        boolean early = job.zero().offloadOptimizer() && !job.train().needsNorm() && job.precision() != Precision.FP16;
        return new StepEstimate(
                compute,
                communication,
                copies,
                (double) work.updatedParameters() * ADAMW_BYTES * job.workers() / HOST_BANDWIDTH,
                early ? backward / rounds * Math.max(compute, Math.max(communication, copies)) : 0);
    }

    public double seconds() {
        return Math.max(compute, Math.max(communication, copies)) + Math.max(0, optimizer - ahead);
    }
}
