package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** ZeRO-2: every rank holds all parameters; slices are exchanged once a step. */
final class ResidentParameters implements ParameterStore {
    private static final Logger LOG = LoggerFactory.getLogger(ResidentParameters.class);

    private final Collectives group;
    private final Tensor[] full;
    private final Tensor[] slices;
    private final Pending[] arriving;
    private final boolean later;

    /**
     * Parameters of every unit.
     *
     * @param later whether a unit is waited for when it is used rather than when it is published: where waiting is the device's
     */
    ResidentParameters(Collectives group, ShardPlan plan, DType[] dtypes, Memory memory, boolean later) {
        this.later = later;
        this.group = group;
        int units = plan.units().size();
        full = new Tensor[units];
        slices = new Tensor[units];
        arriving = new Pending[units];
        for (int u = 0; u < units; u++) {
            full[u] = memory.allocate(dtypes[u], plan.paddedElements(u));
            slices[u] = full[u].slice(plan.sliceElements(u) * group.rank(), plan.sliceElements(u));
        }
    }

    @Override
    public Tensor slice(int unit) {
        await(unit);
        return slices[unit];
    }

    @Override
    public void publish(int[] written) {
        for (int u : written) {
            await(u);
            arriving[u] = group.allGather(full[u], slices[u]);
        }
        for (int u : later ? new int[0] : written) {
            await(u);
        }
    }

    private void await(int unit) {
        if (arriving[unit] != null) {
            arriving[unit].await();
            arriving[unit] = null;
        }
    }

    @Override
    public void prefetch(int unit) {}

    @Override
    public Tensor gather(int unit) {
        await(unit);
        return full[unit];
    }

    @Override
    public void release(int unit) {}

    /** Waits for what is under way, also where a step has failed: its places are about to be others'. */
    @Override
    public void close() {
        for (int u = 0; u < arriving.length; u++) {
            try {
                await(u);
            } catch (RuntimeException e) {
                // It has ended, and what it brought is of no use any more.
                LOG.debug("a collective ended with a failed step", e);
            }
        }
    }

    @Override
    public long residentBytes() {
        long bytes = 0;
        for (Tensor unit : full) {
            bytes += unit.bytes();
        }
        return bytes;
    }
}
