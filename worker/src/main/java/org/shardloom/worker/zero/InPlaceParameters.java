package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.NativeCpu;
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

    /** Null where the group's ranks cannot share memory. */
    static InPlaceParameters tryCreate(Collectives group, ShardPlan plan, DType dtype) {
        Tensor[] full = new Tensor[plan.units().size()];
        for (int u = 0; u < full.length; u++) {
            full[u] = group.allocateCommon(dtype, plan.paddedElements(u));
            if (full[u] == null) {
                return null;
            }
        }
        return new InPlaceParameters(group, plan, full);
    }

    private InPlaceParameters(Collectives group, ShardPlan plan, Tensor[] full) {
        this.group = group;
        this.plan = plan;
        this.full = full;
    }

    @Override
    public Tensor slice(int unit) {
        return full[unit].slice(plan.sliceElements(unit) * group.rank(), plan.sliceElements(unit));
    }

    @Override
    public void publish() {
        group.barrier().await();
        for (int u = 0; u < full.length; u++) {
            release(u);
        }
    }

    @Override
    public void prefetch(int unit) {}

    @Override
    public Tensor gather(int unit) {
        return full[unit];
    }

    @Override
    public void release(int unit) {
        if (group.size() > 1) {
            NativeCpu.sharedRelease(full[unit].address(), full[unit].bytes());
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
