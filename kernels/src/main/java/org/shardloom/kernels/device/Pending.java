package org.shardloom.kernels.device;

/** An operation under way, or how far a device has been given work. */
@FunctionalInterface
public interface Pending {
    /** An operation that is complete. */
    Pending DONE = () -> {};

    /**
     * Makes everything that the calling thread issues to its device from now on come after the operation. On the CPU this
     * blocks.
     *
     * @throws RuntimeException when the operation failed; a {@code CollectiveException} where it was one between ranks
     */
    void await();
}
