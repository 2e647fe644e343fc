package org.shardloom.kernels.collective;

import org.shardloom.kernels.device.Device;

/** A collective under way. */
@FunctionalInterface
public interface Pending extends Device.Point {
    /** An operation that is complete. */
    Pending DONE = () -> {};

    /**
     * Makes everything that the calling thread issues to its device from now on come after the operation. On the CPU this
     * blocks.
     *
     * @throws CollectiveException when the operation failed or the group was aborted
     */
    @Override
    void await();
}
