package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;

/**
 * ZeRO-3 on one host: a unit is one buffer that all ranks see, each writes its slice, and gathering is reading in place. Releasing
 * drops the unit's pages from this process, so that a rank's resident memory is what it uses.
 */
final class InPlaceParameters implements ParameterStore {
    private final Collectives group;
    private final ShardPlan plan;
    private final Tensor[] full;
    private final MemoryStatistics statistics;
    private final boolean[] gathered;

    /** Null where the group's ranks cannot share memory. */
    static InPlaceParameters tryCreate(Collectives group, ShardPlan plan, DType[] dtypes, MemoryStatistics statistics) {
        Tensor[] full = new Tensor[plan.units().size()];
        for (int u = 0; u < full.length; u++) {
            full[u] = group.allocateCommon(dtypes[u], plan.paddedElements(u));
            if (full[u] == null) {
                return null;
            }
        }
        return new InPlaceParameters(group, plan, full, statistics);
    }

    private InPlaceParameters(Collectives group, ShardPlan plan, Tensor[] full, MemoryStatistics statistics) {
        this.group = group;
        this.plan = plan;
        this.full = full;
        this.statistics = statistics;
        this.gathered = new boolean[full.length];
        statistics.allocated(residentBytes(), Purpose.PARAMETERS);
    }

    @Override
    public Tensor slice(int unit) {
        return full[unit].slice(plan.sliceElements(unit) * group.rank(), plan.sliceElements(unit));
    }

    @Override
    public void publish(int[] written) {
        group.barrier().await();
        for (int u : written) {
            release(u);
            // The slice that this rank has just written is the optimizer's to read again only after the next step.
            group.releaseCommon(full[u]);
        }
    }

    @Override
    public void close() {
        statistics.released(residentBytes(), Purpose.PARAMETERS);
    }

    @Override
    public void prefetch(int unit) {}

    @Override
    public Tensor gather(int unit) {
        if (!gathered[unit]) {
            gathered[unit] = true;
            statistics.allocated(othersBytes(unit), Purpose.GATHERED);
        }
        return full[unit];
    }

    /** What of the unit other ranks own. */
    private long othersBytes(int unit) {
        return full[unit].bytes() - full[unit].bytes() / group.size();
    }

    @Override
    public void release(int unit) {
        if (gathered[unit]) {
            gathered[unit] = false;
            statistics.released(othersBytes(unit), Purpose.GATHERED);
            group.releaseCommon(full[unit]);
        }
    }

    @Override
    public long residentBytes() {
        long bytes = 0;
        for (Tensor unit : full) {
            bytes += unit.bytes() / group.size();
        }
        return bytes;
    }
}
