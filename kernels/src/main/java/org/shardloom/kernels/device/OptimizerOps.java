package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/** What an optimizer does to its state and to parameters where they lie: in the host's memory, or in a device's. */
public interface OptimizerOps {
    /** All bytes zero. */
    void zero(Tensor out);

    /** out = in, in out's dtype. */
    void convert(Tensor out, Tensor in);

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
