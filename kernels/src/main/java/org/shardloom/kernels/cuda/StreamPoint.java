package org.shardloom.kernels.cuda;

import jcuda.driver.CUstream;
import org.shardloom.kernels.device.Device;

/**
 * A point in a stream of the device.
 *
 * @param compute what waits in {@link #await}
 */
record StreamPoint(Events.Event event, CUstream compute) implements Device.Point {
    @Override
    public void await() {
        event.holdBack(compute);
    }
}
