package org.shardloom.protocol.config;

import java.util.List;

/**
 * When and how the model is evaluated during the run.
 *
 * @param everySteps steps between evaluations; 0 never evaluates
 * @param metrics what is measured; at least one
 * @param samples of the evaluation file, from its first, whose loss is measured at most
 * @param prompts of them, from the first, that the model answers; 0: none
 * @param maxNewTokens most tokens of an answer
 * @param patience evaluations in a row without a lower loss after which training ends; 0 never
 */
public record EvaluationConfig(
        int everySteps, List<Metric> metrics, int samples, int prompts, int maxNewTokens, int patience) {

    /** Copies the list. */
    public EvaluationConfig {
        metrics = List.copyOf(metrics);
    }

    /** Whether the model is asked to answer. */
    public boolean answers() {
        return everySteps > 0 && prompts > 0;
    }

    /** What an evaluation measures. */
    public enum Metric {
        /** Mean loss of the target tokens, and perplexity. */
        LOSS,
        /** ROUGE of generated answers. */
        ROUGE,
        /** BLEU of generated answers. */
        BLEU,
        /** Share of generated answers that are the reference. */
        EXACT_MATCH,
        /** F1 of the lines of generated answers, for extraction tasks. */
        F1
    }
}
