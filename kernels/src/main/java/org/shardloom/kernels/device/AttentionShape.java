package org.shardloom.kernels.device;

/**
 * How a row of q|k|v is divided, and how it is rotated.
 *
 * @param heads number of query heads
 * @param groups number of key and value heads; group g serves heads g * heads / groups and following
 * @param headSize elements of a head
 * @param rotaryDim elements of a head that are rotated, from its first
 * @param interleaved whether pairs are (2i, 2i + 1), as in ChatGLM, or (i, i + rotaryDim / 2), as in Llama
 */
public record AttentionShape(int heads, int groups, int headSize, int rotaryDim, boolean interleaved) {
    public AttentionShape {
        if (heads < 1 || groups < 1 || heads % groups != 0) {
            throw new IllegalArgumentException(
                    heads + " heads cannot share " + groups + " key and value groups evenly");
        }
        if (rotaryDim < 0 || rotaryDim > headSize || rotaryDim % 2 != 0) {
            throw new IllegalArgumentException("cannot rotate " + rotaryDim + " elements of heads of " + headSize);
        }
    }

    /** Elements of a row of q|k|v. */
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
