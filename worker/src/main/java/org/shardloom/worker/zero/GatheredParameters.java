package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** ZeRO-3 between memories that are not shared: a unit is all-gathered before it is used, the next one meanwhile, and freed after. */
final class GatheredParameters implements ParameterStore {
    private static final Logger LOG = LoggerFactory.getLogger(GatheredParameters.class);

    private final Collectives group;
    /** Brings slices from the host; null where they are on the device. */
    private final Device fetching;

    private final ShardPlan plan;
    private final DType[] dtypes;
    private final Memory gathered;
    private final Tensor[] slices;
    private final Tensor[] full;
    private final Pending[] pending;
    private final Device.Transfer[] fetched;

    /**
     * Slices for every unit.
     *
     * @param memory of the slices
     * @param gathered of gathered units
     * @param fetching copies slices to it that are in the host's memory; null where they are the device's
     */
    GatheredParameters(
            Collectives group, ShardPlan plan, DType[] dtypes, Memory memory, Memory gathered, Device fetching) {
        this.group = group;
        this.fetching = fetching;
        this.plan = plan;
        this.dtypes = dtypes;
        this.gathered = gathered;
        int units = plan.units().size();
        slices = new Tensor[units];
        full = new Tensor[units];
        pending = new Pending[units];
        fetched = new Device.Transfer[units];
        for (int u = 0; u < units; u++) {
            slices[u] = memory.allocate(dtypes[u], plan.sliceElements(u));
        }
    }

    @Override
    public Tensor slice(int unit) {
        if (fetched[unit] != null) {
            fetched[unit].await(); // the host may write its slice from now on
            fetched[unit] = null;
        }
        return slices[unit];
    }

    @Override
    public void publish(int[] written) {
        for (int u : written) {
            release(u);
        }
    }

    @Override
    public void prefetch(int unit) {
        if (full[unit] == null) {
            full[unit] = gathered.allocate(dtypes[unit], plan.paddedElements(unit));
            pending[unit] = fetching == null ? group.allGather(full[unit], slices[unit]) : fetch(unit);
        }
    }

    private Pending fetch(int unit) {
        Tensor slice = full[unit].slice(plan.sliceElements(unit) * group.rank(), plan.sliceElements(unit));
        Device.Transfer arriving = fetching.toDevice(slice, slices[unit]);
        fetched[unit] = arriving;
        return group.size() == 1 ? arriving::join : group.allGather(full[unit], slice, arriving);
    }

    @Override
    public Tensor gather(int unit) {
        prefetch(unit);
        if (pending[unit] != null) {
            pending[unit].await();
            pending[unit] = null;
        }
        return full[unit];
    }

    @Override
    public void release(int unit) {
        if (full[unit] != null) {
            gather(unit);
            gathered.free(full[unit]);
            full[unit] = null;
        }
    }

    @Override
    public long residentBytes() {
        long bytes = 0;
        for (Tensor slice : slices) {
            bytes += slice.bytes();
        }
        return bytes;
    }

    /** Waits for copies that are under way, also where a step has failed: their places are about to be others'. */
    @Override
    public void close() {
        for (Device.Transfer arriving : fetched) {
            if (arriving != null) {
                await(arriving);
            }
        }
    }

    private static void await(Device.Transfer arriving) {
        try {
            arriving.await();
        } catch (RuntimeException e) {
            // It has ended, and what it brought is of no use any more.
            LOG.debug("a copy ended with a failed step", e);
        }
    }
}
