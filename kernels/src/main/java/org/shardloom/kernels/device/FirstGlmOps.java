package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/** The operations that only ChatGLM-6B's layers need: LayerNorm, GELU, biases everywhere, scaled residuals. The rules of {@link Ops} hold. */
public interface FirstGlmOps {
    /**
     * LayerNorm (Ba et al., 2016): out = (x - mean) / sqrt(variance + eps) * weight + bias, row by row.
     *
     * @param out [T, H]
     * @param statistics fp32 [T, 2]: mean and 1 / sqrt(variance + eps), kept for backward
     * @param weight [H]
     * @param bias [H]
     */
    void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias, float eps);

    /**
     * Gradients are overwritten.
     *
     * @param gradX [T, H], may alias gradOut or x
     * @param gradWeight [H], or null where it is frozen; of the same dtype as gradBias
     * @param gradBias [H], or null where it is frozen
     */
    void layerNormBackward(
            Tensor gradX,
            Tensor gradWeight,
            Tensor gradBias,
            Tensor gradOut,
            Tensor x,
            Tensor statistics,
            Tensor weight);

    /** x[T, N] += bias[N], in place. */
    void addBias(Tensor x, Tensor bias);

    /**
     * out[T, N] = z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) with z = x + bias (Hendrycks and Gimpel, 2016); out may alias x.
     *
     * @param bias [N]; null for none
     */
    void gelu(Tensor out, Tensor x, Tensor bias);

    /** gradX[T, N] is overwritten; it may alias gradOut or x. That of the bias is the sum of its rows. */
    void geluBackward(Tensor gradX, Tensor gradOut, Tensor x, Tensor bias);

    /** out = a + factor * b; may alias. */
    void addScaled(Tensor out, Tensor a, Tensor b, float factor);
}
