package org.shardloom.kernels.collective;

/** A collective under way. */
@FunctionalInterface
public interface Pending {
    /** An operation that is complete. */
    Pending DONE = () -> {};

    /**
     * Makes everything that the calling thread issues to its device from now on come after the operation. On the CPU this
     * blocks.
     *
     * @throws CollectiveException when the operation failed or the group was aborted
     */
    void await();
}
