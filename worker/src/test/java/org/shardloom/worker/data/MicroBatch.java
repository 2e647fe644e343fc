package org.shardloom.worker.data;

import java.util.Arrays;
import java.util.List;

/**
 * Samples padded on the right to the longest of them, as the reference implementations collate them; training packs them instead. The
 * arrays are the batch's own and must not be changed.
 *
 * @param rows samples
 * @param columns tokens of the longest
 * @param inputIds [rows, columns] row by row; padding has the pad id
 * @param labels [rows, columns] not shifted; padding is {@link Sample#IGNORED}
 * @param lengths [rows] tokens without padding
 * @param targetTokens how many positions are predicted in all
 */
public record MicroBatch(int rows, int columns, int[] inputIds, int[] labels, int[] lengths, long targetTokens) {

    /**
     * Pads samples to a rectangle.
     *
     * @param samples at least one
     * @param padId the id of padding
     */
    public static MicroBatch of(List<Sample> samples, int padId) {
        int rows = samples.size();
        if (rows == 0) {
            throw new IllegalArgumentException("a micro-batch needs at least one sample");
        }
        int columns = samples.stream().mapToInt(Sample::length).max().getAsInt();
        int cells = Math.multiplyExact(rows, columns);
        int[] ids = new int[cells];
        int[] labels = new int[cells];
        int[] lengths = new int[rows];
        Arrays.fill(ids, padId);
        Arrays.fill(labels, Sample.IGNORED);
        long targets = 0;
        for (int row = 0; row < rows; row++) {
            Sample sample = samples.get(row);
            lengths[row] = sample.length();
            System.arraycopy(sample.inputIds(), 0, ids, row * columns, lengths[row]);
            System.arraycopy(sample.labels(), 0, labels, row * columns, lengths[row]);
            targets += sample.targetTokens();
        }
        return new MicroBatch(rows, columns, ids, labels, lengths, targets);
    }
}
