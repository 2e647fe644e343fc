package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class SamplerTest {
    private static final float FORBIDDEN = Float.NEGATIVE_INFINITY;
    /** Logits of the probabilities 0.05, 0.4, 0.1, 0.3, 0.15. */
    private static final float[] LOGITS = logits(0.05, 0.4, 0.1, 0.3, 0.15);

    private static float[] logits(double... probabilities) {
        float[] logits = new float[probabilities.length];
        for (int i = 0; i < logits.length; i++) {
            logits[i] = (float) Math.log(probabilities[i]);
        }
        return logits;
    }

    private static SamplingOptions options(double temperature, int topK, double topP) {
        return new SamplingOptions(temperature, topK, topP, 1, 1);
    }

    private static int[] candidates(SamplingOptions options, float... logits) {
        return new Sampler(options, 0).candidates(logits);
    }

    /** How often each token is drawn at the steps 0 to draws - 1. */
    private static int[] counts(Sampler sampler, float[] logits, int draws, int[] tokens) {
        int[] counts = new int[logits.length];
        int[] history = Arrays.copyOf(tokens, draws);
        for (int step = tokens.length; step < draws; step++) {
            counts[sampler.next(logits, history, step)]++;
        }
        return counts;
    }

    /** Fails when the counts are less likely than about 1 in 10^5 to come from the probabilities. */
    private static void follows(double[] probabilities, int[] counts) {
        int draws = Arrays.stream(counts).sum();
        double chiSquare = 0;
        int freedom = -1;
        for (int i = 0; i < counts.length; i++) {
            double expected = probabilities[i] * draws;
            if (expected == 0) {
                assertEquals(0, counts[i], "token " + i + " may not be drawn");
            } else {
                chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected;
                freedom++;
            }
        }
        double limit = freedom + 4.5 * Math.sqrt(2 * freedom) + 12;
        assertTrue(
                chiSquare < limit,
                "chi-square " + chiSquare + " of " + Arrays.toString(counts) + ", at most " + limit + " expected");
    }

    @Test
    void greedyTakesTheLikeliestAndOfEqualsTheFirst() {
        Sampler sampler = new Sampler(SamplingOptions.GREEDY, 3);
        assertEquals(1, sampler.next(LOGITS, new int[0], 0));
        assertEquals(1, sampler.next(new float[] {-2, 5, 5, 4}, new int[0], 0));
        assertEquals(2, sampler.next(new float[] {FORBIDDEN, FORBIDDEN, -1e30f}, new int[0], 0));
    }

    @Test
    void topKKeepsTheLikeliestAndWhatTiesWithTheLast() {
        assertArrayEquals(new int[] {1, 3, 4}, candidates(options(1, 3, 1), LOGITS));
        assertArrayEquals(new int[] {1}, candidates(options(1, 1, 1), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4, 2, 0}, candidates(options(1, 9, 1), LOGITS));
        assertArrayEquals(new int[] {2, 0, 3, 4}, candidates(options(1, 2, 1), 1, 0, 2, 1, 1));
        // Negative zero is zero.
        assertArrayEquals(new int[] {0, 2}, candidates(options(1, 1, 1), -0f, -1, 0f));
    }

    @Test
    void topPKeepsTheFewestTokensThatReachP() {
        // In order: 0.4, 0.7, 0.85, 0.95, 1.
        assertArrayEquals(new int[] {1}, candidates(options(1, 0, 0.39), LOGITS));
        assertArrayEquals(new int[] {1, 3}, candidates(options(1, 0, 0.41), LOGITS));
        assertArrayEquals(new int[] {1, 3}, candidates(options(1, 0, 0.69), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4}, candidates(options(1, 0, 0.71), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4, 2}, candidates(options(1, 0, 0.94), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4, 2, 0}, candidates(options(1, 0, 0.96), LOGITS));
        // One token always stays.
        assertArrayEquals(new int[] {1}, candidates(options(1, 0, 1e-9), LOGITS));
        // Of three equal ones two reach a half.
        assertArrayEquals(new int[] {0, 1}, candidates(options(1, 0, 0.5), 3, 3, 3));
    }

    @Test
    void topPCountsWhatTopKAndTemperatureLeave() {
        // Of the three likeliest, 0.4 + 0.3 are 0.824 of 0.85.
        assertArrayEquals(new int[] {1, 3}, candidates(options(1, 3, 0.82), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4}, candidates(options(1, 3, 0.83), LOGITS));
        // At temperature 0.5 probabilities are squared: 0.16 + 0.09 of 0.285 are 0.877, at 1 only 0.7.
        assertArrayEquals(new int[] {1, 3}, candidates(options(0.5, 0, 0.87), LOGITS));
        assertArrayEquals(new int[] {1, 3, 4}, candidates(options(0.5, 0, 0.88), LOGITS));
    }

    @Test
    void drawsFollowTheProbabilities() {
        follows(new double[] {0.05, 0.4, 0.1, 0.3, 0.15}, draw(options(1, 0, 1)));
        // Temperature 0.5 squares, 2 takes roots.
        follows(normalised(0.0025, 0.16, 0.01, 0.09, 0.0225), draw(options(0.5, 0, 1)));
        follows(
                normalised(Math.sqrt(0.05), Math.sqrt(0.4), Math.sqrt(0.1), Math.sqrt(0.3), Math.sqrt(0.15)),
                draw(options(2, 0, 1)));
        follows(normalised(0, 0.4, 0, 0.3, 0), draw(options(1, 2, 1)));
        follows(normalised(0, 0.4, 0, 0.3, 0.15), draw(options(1, 0, 0.8)));
    }

    private static int[] draw(SamplingOptions options) {
        return counts(new Sampler(options, 5), LOGITS, 20_000, new int[0]);
    }

    private static double[] normalised(double... weights) {
        double sum = Arrays.stream(weights).sum();
        return Arrays.stream(weights).map(w -> w / sum).toArray();
    }

    @Test
    void firstDrawsOfManySequencesFollowTheProbabilitiesToo() {
        int[] counts = new int[5];
        for (int sequence = 0; sequence < 20_000; sequence++) {
            counts[new Sampler(options(1, 0, 1), sequence).next(LOGITS, new int[3], 3)]++;
        }
        follows(new double[] {0.05, 0.4, 0.1, 0.3, 0.15}, counts);
        Arrays.fill(counts, 0);
        for (long seed = 0; seed < 20_000; seed++) {
            SamplingOptions options = new SamplingOptions(1, 0, 1, 1, seed);
            counts[new Sampler(options, 0).next(LOGITS, new int[3], 3)]++;
        }
        follows(new double[] {0.05, 0.4, 0.1, 0.3, 0.15}, counts);
    }

    @Test
    void temperaturesNearZeroAreGreedy() {
        int[] counts = counts(new Sampler(options(Double.MIN_VALUE, 0, 1), 0), LOGITS, 100, new int[0]);
        assertArrayEquals(new int[] {0, 100, 0, 0, 0}, counts);
    }

    @Test
    void forbiddenTokensAreNeverDrawn() {
        float[] logits = {FORBIDDEN, 1, FORBIDDEN, 1, FORBIDDEN};
        for (SamplingOptions options : List.of(options(1, 0, 1), options(1, 4, 1), options(1, 0, 0.999))) {
            follows(new double[] {0, 0.5, 0, 0.5, 0}, counts(new Sampler(options, 0), logits, 1000, new int[0]));
        }
    }

    @Test
    void aPenaltyMakesWhatOccurredLessLikelyOnce() {
        Sampler sampler = new Sampler(new SamplingOptions(0, 0, 1, 2, 0), 0);
        float[] logits = {4, 3, 1, -1, -1.5f};
        assertEquals(0, sampler.next(logits, new int[] {9, 9, 9}, 0));
        // Once: 4 / 2 is below 3, and above 1.5 also where 0 occurs twice.
        assertEquals(1, sampler.next(logits, new int[] {0, 0}, 2));
        assertEquals(0, sampler.next(new float[] {4, 1.5f}, new int[] {0, 0}, 2));
        // 4 / 2 and 3 / 2 are above 1.
        assertEquals(0, sampler.next(logits, new int[] {0, 1, 0, 0}, 4));
        // -1 * 2 is below -1.5; the logits themselves stay.
        float[] negative = {-9, -9, -9, -1, -1.5f};
        assertEquals(4, sampler.next(negative, new int[] {3}, 1));
        assertArrayEquals(new float[] {-9, -9, -9, -1, -1.5f}, negative);
        // Below 1 it prefers repetition: 1 / 0.2 is above 4.
        assertEquals(2, new Sampler(new SamplingOptions(0, 0, 1, 0.2, 0), 0).next(logits, new int[] {2}, 1));
    }

    @Test
    void thePenaltyComesBeforeTheTemperature() {
        float[] logits = {(float) Math.log(0.4), (float) Math.log(0.6)};
        int[] counts = counts(new Sampler(new SamplingOptions(0.5, 0, 1, 2, 3), 0), logits, 10_000, new int[] {0});
        // 0.4 becomes 0.4^2, then both are squared: 0.0256 and 0.36.
        follows(normalised(0.0256, 0.36), counts);
    }

    @Test
    void theSameSeedSequenceAndStepGiveTheSameToken() {
        float[] many = new float[1000];
        SamplingOptions options = options(1, 0, 1);
        Sampler sampler = new Sampler(options, 4);
        int[] first = new int[50];
        for (int step = 0; step < 50; step++) {
            first[step] = sampler.next(many, new int[50], step);
        }
        for (int step = 49; step >= 0; step--) { // in another order, by another sampler
            assertEquals(first[step], new Sampler(options, 4).next(many, new int[50], step));
        }
        assertTrue(Arrays.stream(first).distinct().count() > 40, "draws of 1000 tokens should rarely coincide");
    }

    @Test
    void damagedLogitsAreRefusedByName() {
        for (SamplingOptions options : List.of(SamplingOptions.GREEDY, options(1, 2, 0.5))) {
            Sampler sampler = new Sampler(options, 0);
            for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
                ArithmeticException e = assertThrows(
                        ArithmeticException.class, () -> sampler.next(new float[] {1, 2, bad}, new int[0], 0));
                assertTrue(e.getMessage().contains("the logit of token 2 is " + bad), e.getMessage());
            }
            assertThrows(
                    ArithmeticException.class, () -> sampler.next(new float[] {FORBIDDEN, FORBIDDEN}, new int[0], 0));
        }
    }

    @Test
    void impossibleOptionsAreRefusedByName() {
        refused("temperature is -1.0", -1, 0, 1, 1);
        refused("temperature is NaN", Double.NaN, 0, 1, 1);
        refused("temperature is Infinity", Double.POSITIVE_INFINITY, 0, 1, 1);
        refused("top-k is -1", 1, -1, 1, 1);
        refused("top-p is 0.0", 1, 0, 0, 1);
        refused("top-p is 1.5", 1, 0, 1.5, 1);
        refused("top-p is NaN", 1, 0, Double.NaN, 1);
        refused("repetition-penalty is 0.0", 1, 0, 1, 0);
        refused("top-k has no effect without a temperature", 0, 5, 1, 1);
        refused("top-p has no effect without a temperature", 0, 0, 0.9, 1);
    }

    private static void refused(String message, double temperature, int topK, double topP, double penalty) {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class, () -> new SamplingOptions(temperature, topK, topP, penalty, 0));
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}
