package org.shardloom.kernels.cuda;

import jcuda.driver.CUstream;
import org.shardloom.kernels.device.Device;

/**
 * A copy on a stream of its own.
 *
 * @param event its end
 * @param compute what waits in {@link #join}
 */
record StreamTransfer(Events.Event event, CUstream compute) implements Device.Transfer {
    @Override
    public void await() {
        event.await();
    }

    @Override
    public void join() {
        event.holdBack(compute);
    }
}
