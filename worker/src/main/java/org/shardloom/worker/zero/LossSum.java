package org.shardloom.worker.zero;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Losses of a micro-batch on their way to the host, while the device goes on. */
final class LossSum implements AutoCloseable {
    private final Device device;
    private final Memory memory;
    private final Tensor host;
    private final Device.Transfer copy;
    private boolean arrived;

    /** @param losses fp32 on the device, issued; to be left as they are until {@link #await} */
    LossSum(Device device, Tensor losses) {
        this.device = device;
        memory = device.hostMemory(Purpose.WORKSPACE);
        host = memory.allocate(DType.F32, losses.elements());
        copy = device.toHost(host, losses, device.issued());
    }

    /** Their sum, in nats; waits until they have come. */
    double await() {
        copy.await();
        arrived = true;
        return device.hostOps().sum(host);
    }

    /** Where a step has failed they may be under way still, and their place is about to be another's. */
    @Override
    public void close() {
        if (!arrived) {
            try {
                copy.await();
            } catch (RuntimeException e) {
                // The copy has ended, and the step has failed already.
                arrived = true;
            }
        }
        memory.close();
    }
}
