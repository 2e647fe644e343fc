package org.shardloom.worker.data;

/**
 * One training sample. The arrays are the sample's own and must not be changed.
 *
 * @param inputIds token ids
 * @param labels for each position its token to be learned, or {@link #IGNORED}; not shifted
 * @param truncated whether tokens were left out to fit the length limits
 */
public record Sample(int[] inputIds, int[] labels, boolean truncated) {
    /** The label of a position that is not learned. */
    public static final int IGNORED = -100;

    /** Checks that ids and labels are of one length. */
    public Sample {
        if (inputIds.length != labels.length) {
            throw new IllegalArgumentException(inputIds.length + " input ids but " + labels.length + " labels");
        }
    }

    /** The number of tokens. */
    public int length() {
        return inputIds.length;
    }

    /** How many positions are predicted: labels after the first that are not ignored. */
    public int targetTokens() {
        int count = 0;
        for (int i = 1; i < labels.length; i++) {
            count += labels[i] == IGNORED ? 0 : 1;
        }
        return count;
    }

    /** The number of tokens before the first label. */
    public int sourceTokens() {
        int i = 0;
        while (i < labels.length && labels[i] == IGNORED) {
            i++;
        }
        return i;
    }
}
