package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;

/** ZeRO-2: every rank holds all parameters; slices are exchanged once a step. */
final class ResidentParameters implements ParameterStore {
    private final Collectives group;
    private final Tensor[] full;
    private final Tensor[] slices;

    ResidentParameters(Collectives group, ShardPlan plan, DType[] dtypes, Memory memory) {
        this.group = group;
        int units = plan.units().size();
        full = new Tensor[units];
        slices = new Tensor[units];
        for (int u = 0; u < units; u++) {
            full[u] = memory.allocate(dtypes[u], plan.paddedElements(u));
            slices[u] = full[u].slice(plan.sliceElements(u) * group.rank(), plan.sliceElements(u));
        }
    }

    @Override
    public Tensor slice(int unit) {
        return slices[unit];
    }

    @Override
    public void publish(int[] written) {
        Pending[] gathers = new Pending[written.length];
        for (int i = 0; i < written.length; i++) {
            gathers[i] = group.allGather(full[written[i]], slices[written[i]]);
        }
        for (Pending gather : gathers) {
            gather.await();
        }
    }

    @Override
    public void prefetch(int unit) {}

    @Override
    public Tensor gather(int unit) {
        return full[unit];
    }

    @Override
    public void release(int unit) {}

    @Override
    public long residentBytes() {
        long bytes = 0;
        for (Tensor unit : full) {
            bytes += unit.bytes();
        }
        return bytes;
    }
}
