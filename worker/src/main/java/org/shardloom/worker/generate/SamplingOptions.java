package org.shardloom.worker.generate;

/**
 * How the next token is chosen from a model's logits, with the meanings that Hugging Face gives these names. They apply in this
 * order: repetition penalty, temperature, top-k, top-p.
 *
 * @param temperature divides the logits; 0: always the likeliest token (greedy)
 * @param topK only the k likeliest tokens may be chosen, and those that tie with the last of them; 0: all
 * @param topP only the likeliest tokens whose probabilities together reach p, in (0, 1], may be chosen (Holtzman et al., 2020,
 *     nucleus sampling); 1: all
 * @param repetitionPenalty makes every token less likely, by division of a positive and multiplication of a negative logit, that
 *     occurs in the prompt or in what was generated (Keskar et al., 2019, CTRL); 1: none
 * @param seed equal seeds give equal texts
 */
public record SamplingOptions(double temperature, int topK, double topP, double repetitionPenalty, long seed) {
    /** The likeliest token always. */
    public static final SamplingOptions GREEDY = new SamplingOptions(0, 0, 1, 1, 0);

    /**
     * @throws IllegalArgumentException with the name, the value and what is expected, when a value is out of range
     */
    public SamplingOptions {
        require(temperature >= 0 && Double.isFinite(temperature), "temperature", temperature, "0 or above");
        require(topK >= 0, "top-k", topK, "0 (all tokens) or above");
        require(topP > 0 && topP <= 1, "top-p", topP, "above 0 and at most 1");
        require(
                repetitionPenalty > 0 && Double.isFinite(repetitionPenalty),
                "repetition-penalty",
                repetitionPenalty,
                "above 0 (1: none)");
        if (temperature == 0 && (topK > 0 || topP < 1)) {
            throw new IllegalArgumentException(
                    (topK > 0 ? "top-k" : "top-p") + " has no effect without a temperature above 0");
        }
    }

    private static void require(boolean condition, String name, Object value, String expected) {
        if (!condition) {
            throw new IllegalArgumentException(name + " is " + value + ", expected " + expected);
        }
    }

    /** Whether chance has no part. */
    public boolean greedy() {
        return temperature == 0;
    }
}
