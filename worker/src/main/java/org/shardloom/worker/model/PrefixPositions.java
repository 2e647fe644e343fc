package org.shardloom.worker.model;

/**
 * Where ChatGLM-6B's attention sees each token of a packed batch of T tokens.
 *
 * <pre>
 *   ids             x   x   gMASK | sop  y   y   eop      c = 3 tokens before sop
 *   positions       0   1   2     | 2    2   2   2        from sop on that of the mask
 *   blockPositions  0   0   0     | 1    2   3   4
 * </pre>
 *
 * <p>The query in row i sees key j of its sequence if j is not after i or j is in the prefix, the c tokens before sop. The first half
 * of a head is rotated by the position, the second by the block position; both are below the sequence's length. As
 * {@code get_masks} and {@code get_position_ids} of the original model with {@code position_encoding_2d}.
 *
 * @param positions [T]
 * @param blockPositions [T]
 * @param prefixLengths c of each sequence
 */
public record PrefixPositions(int[] positions, int[] blockPositions, int[] prefixLengths) {

    /**
     * The tokens that structure a sequence, from config.json.
     *
     * @param gMask stands for what is to be generated at the end, {@code gmask_token_id}
     * @param mask stands for what is to be generated in the middle, {@code mask_token_id}
     * @param start begins what is generated, sop, {@code bos_token_id}
     */
    public record Markers(int gMask, int mask, int start) {}

    /**
     * Finds the positions. Of several masks the first counts, gMASK before MASK, and so does the first sop.
     *
     * @param ids token ids [T]
     * @param starts first token of each sequence, then T, as in {@link PackedBatch}
     * @throws IllegalArgumentException if a sequence has no sop or no mask
     */
    public static PrefixPositions of(int[] ids, int[] starts, Markers markers) {
        int[] positions = new int[ids.length];
        int[] blockPositions = new int[ids.length];
        int[] prefixLengths = new int[starts.length - 1];
        for (int s = 0; s < prefixLengths.length; s++) {
            int from = starts[s];
            int to = starts[s + 1];
            int start = find(markers.start(), ids, from, to);
            int mask = find(markers.gMask(), ids, from, to);
            if (mask < 0) {
                mask = find(markers.mask(), ids, from, to);
            }
            if (start < 0 || mask < 0) {
                throw new IllegalArgumentException("sequence " + s + " of the batch has "
                        + (start < 0
                                ? "no <sop> (id " + markers.start() + ")"
                                : "neither [gMASK] (id " + markers.gMask() + ") nor [MASK] (id " + markers.mask() + ")")
                        + "; a sequence for ChatGLM-6B is a source, [gMASK], <sop> and a target");
            }
            prefixLengths[s] = start - from;
            for (int t = from; t < to; t++) {
                positions[t] = t < start ? t - from : mask - from;
                blockPositions[t] = t < start ? 0 : t - start + 1;
            }
        }
        return new PrefixPositions(positions, blockPositions, prefixLengths);
    }

    /** Positions, then block positions: [2, T]. */
    int[] both() {
        int[] both = java.util.Arrays.copyOf(positions, 2 * positions.length);
        System.arraycopy(blockPositions, 0, both, positions.length, blockPositions.length);
        return both;
    }

    /**
     * Positions of tokens that follow others in their sequences.
     *
     * @param starts first new token of each sequence, then T
     * @param past tokens that each sequence has had
     * @param places what {@link #placeOf} said of each
     */
    public static PrefixPositions following(int[] starts, int[] past, Place[] places) {
        int tokens = starts[starts.length - 1];
        int[] positions = new int[tokens];
        int[] blockPositions = new int[tokens];
        int[] prefixLengths = new int[starts.length - 1];
        for (int s = 0; s < prefixLengths.length; s++) {
            prefixLengths[s] = places[s].prefixLength;
            for (int t = starts[s]; t < starts[s + 1]; t++) {
                int at = past[s] + t - starts[s];
                boolean source = at < places[s].prefixLength;
                positions[t] = source ? at : places[s].mask;
                blockPositions[t] = source ? 0 : at - places[s].prefixLength + 1;
            }
        }
        return new PrefixPositions(positions, blockPositions, prefixLengths);
    }

    /**
     * What the positions of further tokens of a sequence follow from.
     *
     * @param mask position of its mask
     */
    public record Place(int prefixLength, int mask) {}

    /** Of a sequence of the batch. */
    public Place placeOf(int sequence, int[] starts) {
        int start = starts[sequence] + prefixLengths[sequence];
        return new Place(prefixLengths[sequence], positions[start]);
    }

    private static int find(int id, int[] ids, int from, int to) {
        for (int t = from; t < to; t++) {
            if (ids[t] == id) {
                return t;
            }
        }
        return -1;
    }
}
