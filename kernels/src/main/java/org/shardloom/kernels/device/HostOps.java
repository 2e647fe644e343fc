package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * What the host's processor does with tensors in host memory ({@link Device#hostMemory}): the optimizer and the sums of gradients. Every
 * operation is complete when it returns.
 */
public interface HostOps extends OptimizerOps {
    /** sum += part, both fp32; they do not alias. */
    void add(Tensor sum, Tensor part);

    /** Sum of an fp32 tensor, in double precision, element after element. */
    double sum(Tensor x);

    /** Sum of the squares of an fp32 tensor, in double precision and in an order that is the same at every call. */
    double sumOfSquares(Tensor x);
}
