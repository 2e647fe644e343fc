package org.shardloom.worker.data;

/**
 * How records become samples.
 *
 * @param format what a line looks like
 * @param maxLength the most tokens a sample may have
 * @param maxSourceLength the most tokens one question may have
 * @param truncate true: what is too long is cut; false: such samples are skipped
 * @param modelVocabularySize token ids must be below it; 0 if not known
 */
public record DataOptions(
        DataFormat format, int maxLength, int maxSourceLength, boolean truncate, int modelVocabularySize) {
    private static final int LEAST_SOURCE = 8;

    /** Checks the limits. */
    public DataOptions {
        if (maxLength < 2) {
            throw new IllegalArgumentException("data.max_length is " + maxLength + "; it must be at least 2");
        }
        boolean chat = format != DataFormat.PRETOKENIZED;
        if (chat && maxSourceLength < LEAST_SOURCE) {
            throw new IllegalArgumentException(
                    "data.max_source_length is " + maxSourceLength + "; it must be at least " + LEAST_SOURCE);
        }
        if (chat && maxSourceLength >= maxLength) {
            throw new IllegalArgumentException("data.max_source_length is " + maxSourceLength
                    + "; it must be below data.max_length, which is " + maxLength
                    + ", so that something of the answer remains");
        }
        if (modelVocabularySize < 0) {
            throw new IllegalArgumentException("the model's vocabulary size is " + modelVocabularySize);
        }
    }

    /** Everything in here that changes samples, as text, for a cache's key. */
    String cacheKey() {
        return toString();
    }
}
