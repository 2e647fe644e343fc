package org.shardloom.kernels.device;

/**
 * How a row of queries, keys and values is divided, and how it is rotated.
 *
 * @param heads number of query heads
 * @param groups number of key and value heads; group g serves heads g * heads / groups and following
 * @param headSize elements of a head
 * @param rotaryDim elements of a head that are rotated, from its first
 * @param rotation which of them are pairs
 * @param layout where heads stand in a row
 */
public record AttentionShape(int heads, int groups, int headSize, int rotaryDim, Rotation rotation, Layout layout) {
    /** Which elements of a head are rotated together; the order is that of the native code. */
    public enum Rotation {
        /** (i, i + rotaryDim / 2), as in Llama. */
        HALVES,
        /** (2i, 2i + 1), as in ChatGLM2 and 3. */
        INTERLEAVED,
        /** Each half of rotaryDim is rotated as HALVES, by a position of its own, as in ChatGLM-6B. */
        TWO_DIMENSIONAL
    }

    /** The order of heads in a row. */
    public enum Layout {
        /** All queries, then all keys, then all values. */
        BY_KIND,
        /** Query, key and value of the first head, then those of the second: heads and groups are the same number. */
        BY_HEAD
    }

    public AttentionShape {
        if (heads < 1 || groups < 1 || heads % groups != 0) {
            throw new IllegalArgumentException(
                    heads + " heads cannot share " + groups + " key and value groups evenly");
        }
        int parts = rotation == Rotation.TWO_DIMENSIONAL ? 4 : 2;
        if (rotaryDim < 0 || rotaryDim > headSize || rotaryDim % parts != 0) {
            throw new IllegalArgumentException("cannot rotate " + rotaryDim + " elements of heads of " + headSize);
        }
        if (layout == Layout.BY_HEAD && heads != groups) {
            throw new IllegalArgumentException(
                    heads + " heads that stand together with " + groups + " keys and values");
        }
    }

    /** Queries, then keys, then values, rotated by one position. */
    public AttentionShape(int heads, int groups, int headSize, int rotaryDim, boolean interleaved) {
        this(heads, groups, headSize, rotaryDim, interleaved ? Rotation.INTERLEAVED : Rotation.HALVES, Layout.BY_KIND);
    }

    /** Positions of a token: what an index vector of positions has for each, one kind after the other. */
    public int dimensions() {
        return rotation == Rotation.TWO_DIMENSIONAL ? 2 : 1;
    }

    /** Pairs that are rotated by one position: columns of a table of angles. */
    public int pairs() {
        return rotaryDim / 2 / dimensions();
    }

    public boolean byHead() {
        return layout == Layout.BY_HEAD;
    }

    /** First column of a query head. */
    public int queryColumn(int head) {
        return head * headSize * (byHead() ? 3 : 1);
    }

    /** First column of a key head. */
    public int keyColumn(int group) {
        return (byHead() ? 3 * group + 1 : heads + group) * headSize;
    }

    /** First column of a value head. */
    public int valueColumn(int group) {
        return (byHead() ? 3 * group + 2 : heads + groups + group) * headSize;
    }

    /** Elements of a row of queries, keys and values. */
    public long qkvWidth() {
        return (long) (heads + 2 * groups) * headSize;
    }

    /** Elements of a row of k|v. */
    public long cacheWidth() {
        return 2L * groups * headSize;
    }

    /** Elements of a row of the attention's output. */
    public long contextWidth() {
        return (long) heads * headSize;
    }
}
