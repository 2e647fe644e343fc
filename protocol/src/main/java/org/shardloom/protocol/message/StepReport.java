package org.shardloom.protocol.message;

import java.util.Map;

/**
 * One rank's account of a step.
 *
 * @param loss of the whole step, the same on all ranks
 * @param gradNorm global norm before clipping
 * @param applied false when an fp16 overflow skipped the update
 * @param learningRate that was used
 * @param tokens of this rank's micro-batches
 * @param epoch of the step's last sample, in passes over the data
 * @param seconds wall time on this rank
 * @param phaseSeconds of them by phase
 * @param devicePeakBytes most device memory allocated at once in this generation
 * @param residentPeakBytes most resident memory of the process in this generation; since the process began where Linux does not let it
 *     be counted anew
 */
public record StepReport(
        double loss,
        double gradNorm,
        boolean applied,
        double learningRate,
        long tokens,
        double epoch,
        double seconds,
        Map<String, Double> phaseSeconds,
        long devicePeakBytes,
        long residentPeakBytes) {}
