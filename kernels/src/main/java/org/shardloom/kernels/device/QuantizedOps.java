package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * Weights of four bits (Dettmers et al., 2023, "QLoRA"). Codes lie in tensors of another dtype, whose bytes are theirs. The rules of {@link
 * Ops} hold.
 */
public interface QuantizedOps {
    /** Values that share a scale. */
    int BLOCK = 64;
    /** Scales that share a scale of their own. */
    int SCALES_BLOCK = 256;

    /**
     * out = level of the code * the block's largest magnitude, in out's dtype.
     *
     * @param out n elements
     * @param codes n / 2 bytes, the earlier element in the high half
     * @param absmax fp32 [ceil(n / 64)]
     */
    void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax);

    /**
     * absmax = level of the code * the block's largest magnitude + offset.
     *
     * @param absmax fp32 [n]
     * @param codes n bytes
     * @param nested fp32 [ceil(n / 256)]
     */
    void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested, float offset);
}
