package org.shardloom.worker.optim;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;

/**
 * One rank's slice of the optimizer's state, in host memory: fp32 master weights and both moments of AdamW, by unit. Used by the
 * engine's thread.
 */
public final class OptimizerShard {
    /** What is kept for each parameter. */
    public enum Part {
        MASTER("master"),
        FIRST_MOMENT("exp_avg"),
        SECOND_MOMENT("exp_avg_sq");

        /** Its name in checkpoints. */
        public final String key;

        Part(String key) {
            this.key = key;
        }
    }

    private final OptimizerConfig config;
    private final NoDecay noDecay;
    private final Tensor[][] state;
    private final List<List<DecayRange>> ranges = new ArrayList<>();
    private long updates;

    /**
     * Zeroed state for the rank.
     *
     * @param host memory that holds it
     */
    public OptimizerShard(ShardPlan plan, int rank, List<UnitSpec> units, OptimizerConfig config, Memory host) {
        this.config = config;
        this.noDecay = new NoDecay(config.noDecay());
        this.state = new Tensor[units.size()][Part.values().length];
        for (int u = 0; u < units.size(); u++) {
            for (Part part : Part.values()) {
                Tensor tensor = host.allocate(DType.F32, plan.sliceElements(u));
                NativeCpu.fill(tensor.address(), 0, tensor.bytes());
                state[u][part.ordinal()] = tensor;
            }
            ranges.add(decayRanges(units.get(u), plan, u, rank));
        }
    }

    /** fp32 [slice elements] of the unit. */
    public Tensor get(int unit, Part part) {
        return state[unit][part.ordinal()];
    }

    /** fp32 [slice elements] master weights of the unit. */
    public Tensor master(int unit) {
        return get(unit, Part.MASTER);
    }

    /** Updates applied so far: the t of the bias corrections. */
    public long updates() {
        return updates;
    }

    public void restoreUpdates(long saved) {
        updates = saved;
    }

    /** Counts the update whose units follow. */
    public void beginUpdate() {
        updates++;
    }

    /**
     * AdamW on one unit's slice (Loshchilov and Hutter, 2019).
     *
     * @param gradient fp32 [slice elements]
     * @param gradScale factor on the gradient: clipping and loss scale
     * @param parameters receives the new weights in the training dtype
     */
    public void update(int unit, Tensor gradient, double learningRate, double gradScale, Tensor parameters) {
        float correction1 = (float) (1 - Math.pow(config.beta1(), updates));
        float correction2 = (float) (1 - Math.pow(config.beta2(), updates));
        for (DecayRange range : ranges.get(unit)) {
            long from = range.from * 4;
            NativeCpu.adamw(
                    get(unit, Part.MASTER).address() + from,
                    get(unit, Part.FIRST_MOMENT).address() + from,
                    get(unit, Part.SECOND_MOMENT).address() + from,
                    gradient.address() + from,
                    parameters.address() + range.from * parameters.dtype().bytes,
                    parameters.dtype().code,
                    range.count,
                    (float) learningRate,
                    config.beta1(),
                    config.beta2(),
                    (float) config.eps(),
                    range.decays ? (float) config.weightDecay() : 0,
                    correction1,
                    correction2,
                    (float) gradScale);
        }
    }

    /** Writes the master weights, rounded, to the parameters. */
    public void copyMasterTo(int unit, Tensor parameters) {
        Tensor master = get(unit, Part.MASTER);
        NativeCpu.convert(
                parameters.address(), parameters.dtype().code, master.address(), DType.F32.code, master.elements());
    }

    /** Parts of the slice with and without weight decay, in slice coordinates; neighbours of one kind are merged. */
    private List<DecayRange> decayRanges(UnitSpec unit, ShardPlan plan, int index, int rank) {
        Interval slice = plan.owned(index, rank);
        List<DecayRange> merged = new ArrayList<>();
        for (ParameterSpec p : unit.parameters().values()) {
            Interval common = slice.intersect(new Interval(p.offset(), p.offset() + p.elements()));
            if (common.isEmpty()) {
                continue;
            }
            boolean decays = !noDecay.matches(unit, p);
            long from = common.from() - slice.from();
            DecayRange last = merged.isEmpty() ? null : merged.get(merged.size() - 1);
            if (last != null && last.decays == decays) {
                merged.set(merged.size() - 1, new DecayRange(last.from, from + common.length() - last.from, decays));
            } else {
                merged.add(new DecayRange(from, common.length(), decays));
            }
        }
        return merged;
    }

    private record DecayRange(long from, long count, boolean decays) {}
}
