package org.shardloom.worker.generate;

import java.util.Arrays;
import org.shardloom.worker.data.SplitMix64;

/**
 * Chooses the tokens of one sequence. A choice depends on the options, the sequence's number, the tokens so far and the logits,
 * and on nothing else: not on the other sequences of a batch, nor on earlier choices. Among equal logits the lower id comes
 * first. Safe for use by several threads.
 */
public final class Sampler {
    private final SamplingOptions options;
    private final long stream;

    /**
     * @param sequence the sequence's number: each has random numbers of its own
     */
    public Sampler(SamplingOptions options, long sequence) {
        this.options = options;
        this.stream = SplitMix64.stream(options.seed(), sequence);
    }

    /**
     * The next token.
     *
     * @param logits fp32 [vocabulary], left as they are; negative infinity forbids a token
     * @param tokens prompt and continuation so far, in the first {@code count} elements
     * @param count how many tokens there are
     * @return an id below {@code logits.length}
     * @throws ArithmeticException if a logit is NaN or positive infinity, or all are negative infinity
     */
    public int next(float[] logits, int[] tokens, int count) {
        check(logits);
        float[] scores = penalised(logits, tokens, count);
        if (options.greedy()) {
            return likeliest(scores);
        }
        int[] ids = candidates(scores);
        double[] weights = weights(scores, ids);
        double wanted = (SplitMix64.bits(stream, count) >>> 11) * 0x1p-53 * sum(weights);
        int last = 0;
        for (int i = 0; i < ids.length; i++) {
            wanted -= weights[i];
            if (wanted < 0) {
                return ids[i];
            }
            last = weights[i] > 0 ? i : last;
        }
        return ids[last]; // rounding may leave a rest
    }

    /** The tokens that may be chosen: likeliest first where a filter applies, by id otherwise. */
    int[] candidates(float[] scores) {
        int[] ids = options.topK() > 0 || options.topP() < 1 ? byLikelihood(scores) : all(scores.length);
        if (options.topK() > 0 && options.topK() < ids.length) {
            int kept = options.topK();
            while (kept < ids.length && scores[ids[kept]] == scores[ids[kept - 1]]) {
                kept++;
            }
            ids = Arrays.copyOf(ids, kept);
        }
        if (options.topP() < 1) {
            double[] weights = weights(scores, ids);
            double enough = options.topP() * sum(weights), before = 0;
            int kept = 0;
            while (kept < ids.length && before < enough) {
                before += weights[kept++];
            }
            ids = Arrays.copyOf(ids, kept);
        }
        return ids;
    }

    private static void check(float[] logits) {
        float top = Float.NEGATIVE_INFINITY;
        for (int id = 0; id < logits.length; id++) {
            if (!(logits[id] < Float.POSITIVE_INFINITY)) {
                throw new ArithmeticException("the logit of token " + id + " is " + logits[id]
                        + ": the model's weights are damaged, or it computes beyond the range of its numbers");
            }
            top = Math.max(top, logits[id]);
        }
        if (top == Float.NEGATIVE_INFINITY) {
            throw new ArithmeticException("none of " + logits.length + " tokens may come next");
        }
    }

    private float[] penalised(float[] logits, int[] tokens, int count) {
        float penalty = (float) options.repetitionPenalty();
        if (penalty == 1) {
            return logits;
        }
        float[] scores = logits.clone();
        for (int i = 0; i < count; i++) {
            // From the logit, not the score: a token that occurs twice is penalised once.
            float logit = logits[tokens[i]];
            scores[tokens[i]] = logit < 0 ? logit * penalty : logit / penalty;
        }
        return scores;
    }

    private static int likeliest(float[] scores) {
        int best = 0;
        for (int id = 1; id < scores.length; id++) {
            if (scores[id] > scores[best]) {
                best = id;
            }
        }
        return best;
    }

    private static int[] all(int count) {
        int[] ids = new int[count];
        Arrays.setAll(ids, i -> i);
        return ids;
    }

    private static int[] byLikelihood(float[] scores) {
        long[] keys = new long[scores.length];
        for (int id = 0; id < keys.length; id++) {
            int bits = Float.floatToIntBits(scores[id] + 0f); // -0 becomes 0
            int ascending = bits ^ (bits >> 31 & 0x7fffffff); // orders as the floats do
            keys[id] = (long) ~ascending << 32 | id;
        }
        Arrays.sort(keys);
        int[] ids = new int[keys.length];
        Arrays.setAll(ids, i -> (int) keys[i]);
        return ids;
    }

    /** Probabilities of the candidates at the temperature, times a common factor; the likeliest has 1. */
    private double[] weights(float[] scores, int[] ids) {
        double top = Double.NEGATIVE_INFINITY;
        for (int id : ids) {
            top = Math.max(top, scores[id]);
        }
        double[] weights = new double[ids.length];
        for (int i = 0; i < ids.length; i++) {
            weights[i] = Math.exp((scores[ids[i]] - top) / options.temperature());
        }
        return weights;
    }

    private static double sum(double[] values) {
        double sum = 0;
        for (double value : values) {
            sum += value;
        }
        return sum;
    }
}
