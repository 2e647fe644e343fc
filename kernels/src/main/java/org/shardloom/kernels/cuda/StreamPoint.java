package org.shardloom.kernels.cuda;

import org.shardloom.kernels.device.Pending;

/** A point in the compute stream. */
record StreamPoint(Events.Event event) implements Pending {
    /** Nothing has to be done: what is issued to the stream comes after it. */
    @Override
    public void await() {}
}
