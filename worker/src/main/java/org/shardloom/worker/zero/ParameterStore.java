package org.shardloom.worker.zero;

import org.shardloom.kernels.tensor.Tensor;

/** The parameters as they are computed with, by unit. Used by the engine's thread; every rank calls it in the same order. */
interface ParameterStore extends AutoCloseable {
    /**
     * This rank's slice: written when it is loaded and, where it is trained, by the optimizer between steps, or when the step has no more use
     * for the unit: then on another thread than the engine's, which does not touch the unit meanwhile.
     */
    Tensor slice(int unit);

    /** Makes the slices that all ranks have written the parameters from now on, of the units that they have written. */
    void publish(int[] written);

    /** Says that the unit will be gathered next. */
    void prefetch(int unit);

    /** The whole unit, padded, until {@link #release}. */
    Tensor gather(int unit);

    /** The unit is not needed for now. */
    void release(int unit);

    /** Bytes of parameters that this rank holds when no unit is gathered. */
    long residentBytes();

    /** Ends the accounting; the memory goes with its scope or group. */
    @Override
    default void close() {}
}
