package org.shardloom.worker.data;

/** Keeps or skips samples and counts them. */
final class SampleCollector {
    private final boolean keepTruncated;
    private final Ids offsets = new Ids(1024).add(0);
    private final Ids ids = new Ids(1 << 16);
    private final Ids labels = new Ids(1 << 16);
    private final Ids truncated = new Ids(1024);
    private long targetTokens;
    private long cut;
    private long skippedTooLong;
    private long skippedWithoutTarget;
    private long longest;
    private long sourceTokens;
    private long longestSource;

    SampleCollector(boolean keepTruncated) {
        this.keepTruncated = keepTruncated;
    }

    void add(Sample sample) {
        if (sample.truncated() && !keepTruncated) {
            skippedTooLong++;
            return;
        }
        int targets = sample.targetTokens();
        if (targets == 0) {
            skippedWithoutTarget++;
            return;
        }
        ids.add(sample.inputIds());
        labels.add(sample.labels());
        offsets.add(ids.size());
        truncated.add(sample.truncated() ? 1 : 0);
        targetTokens += targets;
        cut += sample.truncated() ? 1 : 0;
        longest = Math.max(longest, sample.length());
        sourceTokens += sample.sourceTokens();
        longestSource = Math.max(longestSource, sample.sourceTokens());
    }

    /** Samples kept. */
    int size() {
        return truncated.size();
    }

    Dataset finish() {
        int[] flags = truncated.toArray();
        boolean[] booleans = new boolean[flags.length];
        for (int i = 0; i < flags.length; i++) {
            booleans[i] = flags[i] == 1;
        }
        DatasetSummary summary = new DatasetSummary(
                flags.length,
                ids.size(),
                targetTokens,
                cut,
                skippedTooLong,
                skippedWithoutTarget,
                longest,
                sourceTokens,
                longestSource);
        return new Dataset(offsets.toArray(), ids.toArray(), labels.toArray(), booleans, summary);
    }
}
