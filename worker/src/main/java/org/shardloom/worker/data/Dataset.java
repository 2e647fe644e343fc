package org.shardloom.worker.data;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;

/** Samples in memory, all tokens in one flat array. Immutable and safe for use by several threads. */
public final class Dataset {
    private final int[] offsets;
    private final int[] ids;
    private final int[] labels;
    private final boolean[] truncated;
    private final DatasetSummary summary;

    /**
     * @param offsets [samples + 1] where each sample begins; the last is the number of tokens
     * @param ids [tokens]
     * @param labels [tokens]
     * @param truncated [samples]
     * @param summary what is in it
     */
    Dataset(int[] offsets, int[] ids, int[] labels, boolean[] truncated, DatasetSummary summary) {
        this.offsets = offsets;
        this.ids = ids;
        this.labels = labels;
        this.truncated = truncated;
        this.summary = summary;
    }

    /** The number of samples, at least one. */
    public int size() {
        return truncated.length;
    }

    /** The number of tokens of a sample. */
    public int length(int sample) {
        return offsets[sample + 1] - offsets[sample];
    }

    /**
     * A copy of one sample.
     *
     * @param sample its number, in the order of the files
     */
    public Sample sample(int sample) {
        int from = offsets[sample];
        int to = offsets[sample + 1];
        return new Sample(Arrays.copyOfRange(ids, from, to), Arrays.copyOfRange(labels, from, to), truncated[sample]);
    }

    /** SHA-256, in hexadecimal digits, of all samples and of what comes with them. */
    public String digest(String with) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(with.getBytes(StandardCharsets.UTF_8));
            ByteBuffer chunk = ByteBuffer.allocate(1 << 16);
            for (int[] part : new int[][] {offsets, ids, labels}) {
                for (int from = 0; from < part.length; from += chunk.capacity() / Integer.BYTES) {
                    chunk.clear();
                    int count = Math.min(part.length - from, chunk.capacity() / Integer.BYTES);
                    chunk.asIntBuffer().put(part, from, count);
                    digest.update(chunk.limit(count * Integer.BYTES));
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** Counts. */
    public DatasetSummary summary() {
        return summary;
    }

    int[] offsets() {
        return offsets;
    }

    int[] ids() {
        return ids;
    }

    int[] labels() {
        return labels;
    }

    boolean[] truncated() {
        return truncated;
    }
}
