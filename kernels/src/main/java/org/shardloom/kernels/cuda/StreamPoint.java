package org.shardloom.kernels.cuda;

import jcuda.driver.CUstream;
import org.shardloom.kernels.device.Pending;

/**
 * A point in a stream of the device.
 *
 * @param compute what waits in {@link #await}
 */
record StreamPoint(Events.Event event, CUstream compute) implements Pending {
    @Override
    public void await() {
        event.holdBack(compute);
    }
}
