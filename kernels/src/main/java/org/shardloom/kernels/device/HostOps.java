package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * What the host's processor does with tensors in host memory ({@link Device#hostMemory}): the optimizer and the sums of gradients. Every
 * operation is complete when it returns.
 */
public interface HostOps {
    /** All bytes zero. */
    void zero(Tensor out);

    /** out = in, in out's dtype. */
    void convert(Tensor out, Tensor in);

    /** sum += part, both fp32; they do not alias. */
    void add(Tensor sum, Tensor part);

    /** Sum of the squares of an fp32 tensor, in double precision and in an order that is the same at every call. */
    double sumOfSquares(Tensor x);

    /**
     * AdamW (Loshchilov and Hutter, 2019) on fp32 [n] of everything.
     *
     * @param out [n] receives the new weights in its dtype; may be the gradient where that is fp32
     */
    void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out, Adamw settings);

    /**
     * What one update is told.
     *
     * @param correction1 1 - beta1^t, t counting from 1
     * @param correction2 1 - beta2^t
     * @param gradScale factor on the gradient: clipping and loss scale
     */
    record Adamw(
            float rate,
            double beta1,
            double beta2,
            float eps,
            float decay,
            float correction1,
            float correction2,
            float gradScale) {
        public Adamw withDecay(float other) {
            return new Adamw(rate, beta1, beta2, eps, other, correction1, correction2, gradScale);
        }
    }
}
