package org.shardloom.worker.evaluate;

import java.util.List;

/**
 * BLEU-4 (Papineni et al., 2002) with one reference: brevity penalty times the geometric mean of the clipped precisions of
 * 1- to 4-grams. {@link #sentence} is smoothed and judges one answer; an instance of this class is the corpus BLEU of all
 * answers that were added, without smoothing. One thread.
 */
public final class Bleu {
    private static final int ORDER = 4;

    private final long[] shared = new long[ORDER];
    private final long[] totals = new long[ORDER];
    private long answerUnits;
    private long referenceUnits;

    /**
     * Sentence BLEU-4, smoothed by method 3 of Chen and Cherry (2014, "A Systematic Comparison of Smoothing Techniques for
     * Sentence-Level BLEU"), the geometric sequence of NIST: the k-th precision that is zero becomes 1 / (2^k n-grams). This is
     * {@code method3} of NLTK, which ChatGLM's scripts use, in its details too: an answer too short for n-grams counts as having
     * one, and an answer without any unit of the reference scores 0.
     *
     * @param answer units of the answer, may be empty
     * @param reference units of the reference, may be empty
     */
    public static double sentence(List<String> answer, List<String> reference) {
        double logs = 0;
        int zeros = 0;
        for (int n = 1; n <= ORDER; n++) {
            Ngrams ngrams = Ngrams.of(answer, n);
            double matches = ngrams.shared(Ngrams.of(reference, n));
            if (matches == 0) {
                if (n == 1) {
                    return 0;
                }
                matches = Math.scalb(1.0, - ++zeros);
            }
            logs += Math.log(matches / Math.max(1, ngrams.total()));
        }
        return brevityPenalty(answer.size(), reference.size()) * Math.exp(logs / ORDER);
    }

    /** Adds an answer and its reference to the corpus. */
    public void add(List<String> answer, List<String> reference) {
        for (int n = 1; n <= ORDER; n++) {
            Ngrams ngrams = Ngrams.of(answer, n);
            shared[n - 1] += ngrams.shared(Ngrams.of(reference, n));
            totals[n - 1] += ngrams.total();
        }
        answerUnits += answer.size();
        referenceUnits += reference.size();
    }

    /** Corpus BLEU-4 of what was added: matches and n-grams are summed before they are divided. 0 where there is no common 4-gram. */
    public double corpus() {
        double logs = 0;
        for (int i = 0; i < ORDER; i++) {
            if (shared[i] == 0) {
                return 0;
            }
            logs += Math.log((double) shared[i] / totals[i]);
        }
        return brevityPenalty(answerUnits, referenceUnits) * Math.exp(logs / ORDER);
    }

    private static double brevityPenalty(long answer, long reference) {
        return answer >= reference ? 1 : Math.exp(1 - (double) reference / answer);
    }
}
