package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * The operations of adapters and prefixes beside those of the decoder itself: products of small fp32 weights with activations of the
 * training dtype, into or from a range of columns. The rules of {@link Ops} hold.
 */
public interface AdapterOps {
    /**
     * Columns of a matrix.
     *
     * @param matrix [rows, width]
     * @param from first column
     * @param count number of columns
     */
    record Columns(Tensor matrix, long from, long count) {}

    /** y[T, N] += x[T, K] weight[N, K]^T; every operand may have its own dtype. */
    void linearAdd(Columns y, Tensor x, Tensor weight);

    /** gradX[T, K] (+)= gradY[T, N] weight[N, K]; every operand may have its own dtype. */
    void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight, boolean accumulate);

    /** gradWeight[N, K] = gradY[T, N]^T x[T, K]; every operand may have its own dtype. */
    void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x);

    /** out *= factor. */
    void scale(Tensor out, float factor);

    /**
     * out = x / (1 - rate) where kept, else 0 (Srivastava et al., 2014). Whether element i is kept depends on key and i only, so the
     * backward pass calls it with the same key on the gradient.
     *
     * @param out may alias x
     * @param rate from 0 to below 1
     */
    void dropout(Tensor out, Tensor x, long key, float rate);

    /** out = tanh(x), fp32; may alias. */
    void tanh(Tensor out, Tensor x);

    /** gradX = gradY * (1 - y^2), fp32, with y = tanh(x); gradX may alias gradY. */
    void tanhBackward(Tensor gradX, Tensor gradY, Tensor y);
}
