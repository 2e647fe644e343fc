package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A micro-batch without padding: T tokens of sequences one after the other.
 *
 * @param ids token ids [T]
 * @param positions within the sequence [T]
 * @param starts first token of each sequence, then T
 * @param targetRows tokens whose successor is to be predicted
 * @param targets the ids to be predicted, for each of {@code targetRows}
 * @param virtualRows tokens that stand for trained embeddings, those of each sequence in order; their ids mean nothing
 * @param prefixPositions of ChatGLM-6B, where they do not follow from whole sequences; null otherwise
 */
public record PackedBatch(
        int[] ids,
        int[] positions,
        int[] starts,
        int[] targetRows,
        int[] targets,
        PrefixPositions prefixPositions,
        int[] virtualRows) {
    /** Without positions of ChatGLM-6B. */
    public PackedBatch(int[] ids, int[] positions, int[] starts, int[] targetRows, int[] targets) {
        this(ids, positions, starts, targetRows, targets, null, new int[0]);
    }

    /** The same with positions of ChatGLM-6B. */
    public PackedBatch with(PrefixPositions places) {
        return new PackedBatch(ids, positions, starts, targetRows, targets, places, virtualRows);
    }

    /** A label that is not predicted. */
    public static final int IGNORED = -100;

    /**
     * Packs sequences.
     *
     * @param sequences token ids of each
     * @param labels of each, as long as its ids, not shifted: the state at t predicts labels[t + 1]; {@link #IGNORED} where there
     *     is no loss
     */
    public static PackedBatch of(List<int[]> sequences, List<int[]> labels) {
        PackedBatch packed = following(sequences, new int[sequences.size()]);
        List<Integer> rows = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        for (int s = 0; s < sequences.size(); s++) {
            int[] wanted = labels.get(s);
            for (int t = 0; t + 1 < sequences.get(s).length; t++) {
                if (wanted[t + 1] != IGNORED) {
                    rows.add(packed.starts[s] + t);
                    targets.add(wanted[t + 1]);
                }
            }
        }
        return new PackedBatch(
                packed.ids,
                packed.positions,
                packed.starts,
                rows.stream().mapToInt(Integer::intValue).toArray(),
                targets.stream().mapToInt(Integer::intValue).toArray());
    }

    /**
     * Packs tokens that follow others, without anything to be predicted.
     *
     * @param sequences the new token ids of each
     * @param past how many tokens each has had before
     */
    public static PackedBatch following(List<int[]> sequences, int[] past) {
        int total = sequences.stream().mapToInt(s -> s.length).sum();
        int[] ids = new int[total];
        int[] positions = new int[total];
        int[] starts = new int[sequences.size() + 1];
        int at = 0;
        for (int s = 0; s < sequences.size(); s++) {
            int[] sequence = sequences.get(s);
            starts[s] = at;
            System.arraycopy(sequence, 0, ids, at, sequence.length);
            for (int t = 0; t < sequence.length; t++) {
                positions[at + t] = past[s] + t;
            }
            at += sequence.length;
        }
        starts[sequences.size()] = at;
        return new PackedBatch(ids, positions, starts, new int[0], new int[0]);
    }

    /**
     * The same with virtual tokens before the sequences that begin here, where they are not there yet.
     *
     * @param count of virtual tokens; 0 changes nothing
     */
    public PackedBatch withVirtualTokens(int count) {
        boolean[] begins = new boolean[starts.length - 1];
        int beginning = 0;
        for (int s = 0; s < begins.length; s++) {
            begins[s] = starts[s + 1] > starts[s] && positions[starts[s]] == 0;
            beginning += begins[s] ? 1 : 0;
        }
        if (count == 0 || beginning == 0 || virtualRows.length > 0) {
            return this;
        }
        int[] longIds = new int[ids.length + beginning * count];
        int[] longPositions = new int[longIds.length];
        int[] longStarts = new int[starts.length];
        int[] virtual = new int[beginning * count];
        int[] newRow = new int[ids.length];
        int at = 0;
        int v = 0;
        for (int s = 0; s < begins.length; s++) {
            longStarts[s] = at;
            for (int i = 0; begins[s] && i < count; i++) {
                virtual[v++] = at;
                longPositions[at++] = i;
            }
            for (int t = starts[s]; t < starts[s + 1]; t++) {
                newRow[t] = at;
                longIds[at] = ids[t];
                longPositions[at++] = positions[t] + (begins[s] ? count : 0);
            }
        }
        longStarts[begins.length] = at;
        int[] rows = Arrays.stream(targetRows).map(r -> newRow[r]).toArray();
        return new PackedBatch(longIds, longPositions, longStarts, rows, targets, null, virtual);
    }

    /** The rows of tokens that are not virtual. */
    public int[] realRows() {
        boolean[] virtual = new boolean[ids.length];
        Arrays.stream(virtualRows).forEach(r -> virtual[r] = true);
        return IntStream.range(0, ids.length).filter(r -> !virtual[r]).toArray();
    }

    /** T. */
    public int tokens() {
        return ids.length;
    }

    /** The tokens sorted by id, by position among equals. */
    int[] orderById() {
        return IntStream.range(0, ids.length)
                .boxed()
                .sorted(Comparator.comparingInt(i -> ids[i]))
                .mapToInt(Integer::intValue)
                .toArray();
    }

    @Override
    public String toString() {
        return "PackedBatch[" + tokens() + " tokens, starts " + Arrays.toString(starts) + "]";
    }
}
