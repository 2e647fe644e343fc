package org.shardloom.protocol.message;

import com.fasterxml.jackson.annotation.JsonCreator;
import java.util.Map;

/**
 * One rank's account of a step.
 *
 * @param loss of the whole step, the same on all ranks
 * @param gradNorm global norm before clipping
 * @param applied false when an fp16 overflow or a guard skipped the update
 * @param learningRate that was used
 * @param tokens of this rank's micro-batches
 * @param epoch of the step's last sample, in passes over the data
 * @param seconds wall time on this rank
 * @param phaseSeconds of them by phase
 * @param devicePeakBytes most device memory allocated at once in this generation
 * @param residentPeakBytes most resident memory of the process in this generation; since the process began where Linux does not let it
 *     be counted anew
 * @param evaluation after the step; null where there was none
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
        long residentPeakBytes,
        EvaluationReport evaluation) {
    @JsonCreator
    public StepReport {}

    /** Without an evaluation. */
    public StepReport(
            double loss,
            double gradNorm,
            boolean applied,
            double learningRate,
            long tokens,
            double epoch,
            double seconds,
            Map<String, Double> phaseSeconds,
            long devicePeakBytes,
            long residentPeakBytes) {
        this(
                loss,
                gradNorm,
                applied,
                learningRate,
                tokens,
                epoch,
                seconds,
                phaseSeconds,
                devicePeakBytes,
                residentPeakBytes,
                null);
    }

    /** The same with an evaluation after the step. */
    public StepReport with(EvaluationReport report) {
        return new StepReport(
                loss,
                gradNorm,
                applied,
                learningRate,
                tokens,
                epoch,
                seconds,
                phaseSeconds,
                devicePeakBytes,
                residentPeakBytes,
                report);
    }
}
