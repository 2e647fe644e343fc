package org.shardloom.worker.data;

import java.util.Arrays;

/**
 * A sample as a question to a model: what comes before its last learned answer, and that answer.
 *
 * @param prompt token ids, at least one
 * @param answer token ids that were to be learned, the end of the answer among them
 */
public record QuestionAnswer(int[] prompt, int[] answer) {
    /**
     * The last run of learned tokens, and all before it; null where nothing is learned, or nothing comes before it.
     *
     * @param header tokens at the beginning of an answer that are learned, but no part of it: the model is given them
     */
    public static QuestionAnswer of(Sample sample, int header) {
        int[] labels = sample.labels();
        int end = labels.length;
        while (end > 0 && labels[end - 1] == Sample.IGNORED) {
            end--;
        }
        int start = end;
        while (start > 0 && labels[start - 1] != Sample.IGNORED) {
            start--;
        }
        if (start == 0 || start == end) {
            return null;
        }
        start = Math.min(end, start + header);
        return new QuestionAnswer(
                Arrays.copyOf(sample.inputIds(), start), Arrays.copyOfRange(sample.inputIds(), start, end));
    }
}
