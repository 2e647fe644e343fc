package org.shardloom.kernels.device;

/** What device memory is used for; peaks are reported by purpose. */
public enum Purpose {
    /** This rank's own slices of the parameters, or all of them under ZeRO-2. */
    PARAMETERS,
    /** Units gathered for use. */
    GATHERED,
    /** Gradients of units, and the fp32 sums of this rank's slices. */
    GRADIENTS,
    /** fp32 master weights and moments. */
    OPTIMIZER,
    /** What forward keeps for backward, or in generation for the tokens to come. */
    ACTIVATIONS,
    /** Everything that lives within one operation or layer. */
    WORKSPACE
}
