package org.shardloom.protocol.message;

import java.util.List;
import java.util.Map;

/**
 * One rank's account of an evaluation after a step.
 *
 * @param loss mean over all target tokens of all ranks' samples, in nats; NaN where it could not be measured
 * @param samples whose loss was measured, over all ranks
 * @param answers of this rank's prompts
 * @param seconds wall time
 * @param failure what went wrong, or null; it does not end the run
 */
public record EvaluationReport(double loss, int samples, List<Answer> answers, double seconds, String failure) {
    /**
     * What the model answered.
     *
     * @param sample its number in the evaluation file's samples
     * @param scores by metric, from 0 to 1
     */
    public record Answer(int sample, String prompt, String answer, String reference, Map<String, Double> scores) {}
}
