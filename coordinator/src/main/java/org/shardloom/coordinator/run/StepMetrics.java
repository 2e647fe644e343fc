package org.shardloom.coordinator.run;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.protocol.message.StepReport;

/**
 * What is known of a step once every worker has reported: one line of metrics.jsonl.
 *
 * @param deviceMemoryPeakBytes most of any rank in this generation
 * @param hostMemoryPeakBytes most of any rank in this generation
 * @param workerHostMemoryPeakBytes by rank
 * @param evaluation after the step; null where there was none
 */
public record StepMetrics(
        long step,
        long totalSteps,
        double epoch,
        double loss,
        double gradNorm,
        boolean applied,
        double learningRate,
        long tokens,
        double tokensPerSecond,
        int workers,
        long generation,
        double seconds,
        long deviceMemoryPeakBytes,
        long hostMemoryPeakBytes,
        List<Long> workerHostMemoryPeakBytes,
        Map<String, Double> phaseSeconds,
        StepEvaluation evaluation) {

    /**
     * Combines the ranks' reports.
     *
     * @param reports in rank order
     * @param seconds wall time of the step, with an evaluation after it, as the coordinator saw it
     */
    static StepMetrics of(long step, long totalSteps, long generation, double seconds, List<StepReport> reports) {
        StepReport first = reports.get(0);
        long tokens = reports.stream().mapToLong(StepReport::tokens).sum();
        StepEvaluation evaluation = StepEvaluation.of(step, reports);
        double ofStep = Math.max(1e-9, seconds - (evaluation == null ? 0 : evaluation.seconds()));
        Map<String, Double> phases = new LinkedHashMap<>();
        for (StepReport report : reports) {
            report.phaseSeconds().forEach((phase, s) -> phases.merge(phase, s / reports.size(), Double::sum));
        }
        return new StepMetrics(
                step,
                totalSteps,
                first.epoch(),
                first.loss(),
                first.gradNorm(),
                first.applied(),
                first.learningRate(),
                tokens,
                tokens / ofStep,
                reports.size(),
                generation,
                ofStep,
                reports.stream().mapToLong(StepReport::devicePeakBytes).max().orElse(0),
                reports.stream().mapToLong(StepReport::residentPeakBytes).max().orElse(0),
                reports.stream().map(StepReport::residentPeakBytes).toList(),
                phases,
                evaluation);
    }
}
