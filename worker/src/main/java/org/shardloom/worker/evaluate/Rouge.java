package org.shardloom.worker.evaluate;

import java.util.List;

/**
 * ROUGE (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") of one answer against one reference, as Google's
 * rouge-score computes it: precision and recall weigh alike. A text with fewer than n units has no n-grams, so that ROUGE-2 of
 * two equal words is 0.
 */
public final class Rouge {
    private Rouge() {}

    /**
     * ROUGE-N: n-grams in common.
     *
     * @param answer units of the answer, may be empty
     * @param reference units of the reference, may be empty
     * @param n at least 1
     */
    public static Overlap n(List<String> answer, List<String> reference, int n) {
        if (n < 1) {
            throw new IllegalArgumentException("ROUGE-N needs n of at least 1, found " + n);
        }
        Ngrams ofAnswer = Ngrams.of(answer, n), ofReference = Ngrams.of(reference, n);
        return Overlap.of(ofAnswer.shared(ofReference), ofAnswer.total(), ofReference.total());
    }

    /** ROUGE-L of the whole texts, not sentence by sentence: the longest common subsequence. Time |answer| * |reference|. */
    public static Overlap l(List<String> answer, List<String> reference) {
        return Overlap.of(longestCommonSubsequence(answer, reference), answer.size(), reference.size());
    }

    private static int longestCommonSubsequence(List<String> a, List<String> b) {
        // row[j]: of the units of a so far and the first j of b
        int[] row = new int[b.size() + 1];
        for (String unit : a) {
            int diagonal = 0;
            for (int j = 1; j < row.length; j++) {
                int above = row[j];
                row[j] = unit.equals(b.get(j - 1)) ? diagonal + 1 : Math.max(above, row[j - 1]);
                diagonal = above;
            }
        }
        return row[b.size()];
    }
}
