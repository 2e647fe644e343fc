package org.shardloom.worker.data;

import java.util.Locale;

/**
 * What a data set has in it.
 *
 * @param samples samples kept
 * @param tokens their tokens
 * @param targetTokens of these, the tokens that are learned
 * @param cut samples kept of which something was cut off
 * @param skippedTooLong samples left out because they were too long
 * @param skippedWithoutTarget samples left out because nothing in them can be learned, mostly because all of the answer
 *     was cut off
 * @param longest the most tokens in a sample
 * @param sourceTokens tokens before the first learned one, in all
 * @param longestSource the most such tokens in a sample
 */
public record DatasetSummary(
        long samples,
        long tokens,
        long targetTokens,
        long cut,
        long skippedTooLong,
        long skippedWithoutTarget,
        long longest,
        long sourceTokens,
        long longestSource) {

    /** One line for people. */
    public String describe() {
        StringBuilder text = new StringBuilder(String.format(
                Locale.ROOT,
                "%,d samples, %,d tokens (%,d learned), longest %,d, source %.1f on average and at most %,d",
                samples,
                tokens,
                targetTokens,
                longest,
                samples == 0 ? 0.0 : (double) sourceTokens / samples,
                longestSource));
        append(text, cut, "cut to fit");
        append(text, skippedTooLong, "skipped as too long");
        append(text, skippedWithoutTarget, "skipped with nothing to learn");
        return text.toString();
    }

    private static void append(StringBuilder text, long count, String what) {
        if (count > 0) {
            text.append(String.format(Locale.ROOT, "; %,d %s", count, what));
        }
    }
}
