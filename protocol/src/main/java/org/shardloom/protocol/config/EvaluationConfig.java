package org.shardloom.protocol.config;

import java.util.List;

/**
 * When and how the model is evaluated during the run.
 *
 * @param everySteps steps between evaluations; 0 never evaluates
 * @param metrics what is measured; at least one
 */
public record EvaluationConfig(int everySteps, List<Metric> metrics) {

    /** Copies the list. */
    public EvaluationConfig {
        metrics = List.copyOf(metrics);
    }

    /** What an evaluation measures. */
    public enum Metric {
        /** Mean loss of the target tokens. */
        LOSS,
        /** ROUGE of generated answers. */
        ROUGE,
        /** BLEU of generated answers. */
        BLEU
    }
}
