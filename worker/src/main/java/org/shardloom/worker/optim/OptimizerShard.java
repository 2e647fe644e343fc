package org.shardloom.worker.optim;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OptimizerOps;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;

/**
 * One rank's slice of the optimizer's state: fp32 master weights and both moments of AdamW, by unit, in the host's memory or in a
 * device's. Used by one thread at a time.
 */
public final class OptimizerShard implements AutoCloseable {
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

    /**
     * Where state is kept, and who updates it there.
     *
     * @param memory that holds it; gives it back when it is closed
     * @param device that has the memory for itself; null: the host reads and writes it
     */
    public record Home(Memory memory, OptimizerOps ops, Device device) {
        /** The host's memory, page-locked where the device has its own. */
        public static Home host(Device device) {
            return new Home(device.hostMemory(Purpose.OPTIMIZER), device.hostOps(), null);
        }

        /** The device's memory. */
        public static Home device(Device device) {
            return device.sharesHostMemory()
                    ? host(device)
                    : new Home(device.memory(Purpose.OPTIMIZER), device.ops(), device);
        }
    }

    /** Elements of a slice that are updated in fp32 before they are rounded in place. */
    private static final long BEGINNING = 4096;

    private final ShardPlan plan;
    private final OptimizerConfig config;
    private final NoDecay noDecay;
    private final Tensor[][] state;
    private Home home;
    /** What the state has not left whole; null but within a move, and after one that failed. */
    private Memory leaving;

    private final List<List<DecayRange>> ranges = new ArrayList<>();
    private long updates;

    /**
     * Zeroed state for the rank.
     *
     * @param host memory that holds it
     */
    public OptimizerShard(
            ShardPlan plan, int rank, List<UnitSpec> units, OptimizerConfig config, Memory host, HostOps ops) {
        this(plan, rank, units, config, new Home(host, ops, null));
    }

    /** Zeroed state for the rank, in its home. */
    public OptimizerShard(ShardPlan plan, int rank, List<UnitSpec> units, OptimizerConfig config, Home home) {
        this(plan, rank, units, config, home, false);
    }

    /**
     * State for the rank, in its home.
     *
     * @param comes no unit has state until {@link #allocate}; else all have, and it is zero
     */
    public OptimizerShard(
            ShardPlan plan, int rank, List<UnitSpec> units, OptimizerConfig config, Home home, boolean comes) {
        this.plan = plan;
        this.config = config;
        this.home = home;
        this.noDecay = new NoDecay(config.noDecay());
        this.state = new Tensor[units.size()][Part.values().length];
        for (int u = 0; u < units.size(); u++) {
            if (!comes) {
                allocate(u);
            }
            ranges.add(decayRanges(units.get(u), plan, u, rank));
        }
    }

    /**
     * Makes room for the unit's state, which is zero.
     *
     * @throws IllegalStateException when it has state
     */
    public void allocate(int unit) {
        if (state[unit][0] != null) {
            throw new IllegalStateException("unit " + unit + " has state");
        }
        for (Part part : Part.values()) {
            Tensor tensor = home.memory.allocate(DType.F32, plan.sliceElements(unit));
            home.ops.zero(tensor);
            state[unit][part.ordinal()] = tensor;
        }
    }

    /** Gives the unit's state back, which others have now. */
    public void release(int unit) {
        for (Part part : Part.values()) {
            home.memory.free(state[unit][part.ordinal()]);
            state[unit][part.ordinal()] = null;
        }
    }

    /** The device whose own memory the state is in; null where the host reads and writes it. */
    public Device device() {
        return home.device;
    }

    /**
     * Moves the state to the host's memory, or back, a tensor at a time; its old home is left empty and closed.
     *
     * @param device that has memory of its own
     */
    public void move(Home to, Device device) {
        Home from = home;
        home = to;
        leaving = from.memory; // given back with the rest where a copy fails
        for (Tensor[] parts : state) {
            for (int p = 0; p < parts.length; p++) {
                Tensor before = parts[p];
                if (before == null) {
                    continue;
                }
                Tensor moved = to.memory.allocate(DType.F32, before.elements());
                if (to.device == null) {
                    device.toHost(moved, before, device.issued()).await();
                } else {
                    device.toDevice(moved, before).await();
                }
                parts[p] = moved;
                from.memory.free(before);
            }
        }
        from.memory.close();
        leaving = null;
    }

    /** Gives the state's memory back. */
    @Override
    public void close() {
        home.memory.close();
        if (leaving != null) {
            leaving.close();
        }
    }

    /** fp32 [slice elements] of the unit, where {@link #device} says. */
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
     * AdamW on one unit's slice, or a part of it (Loshchilov and Hutter, 2019).
     *
     * @param from the part's first element
     * @param gradient fp32 [part's elements]
     * @param gradScale factor on the gradient: clipping and loss scale
     * @param parameters receives the part's new weights in the training dtype; memory of the same kind as the state's, as the gradient's is
     */
    public void update(int unit, long from, Tensor gradient, double learningRate, double gradScale, Tensor parameters) {
        Interval all = new Interval(0, gradient.elements());
        update(unit, from, gradient, all, parameters, settings(learningRate, gradScale));
    }

    /**
     * As {@link #update}; the new weights take the gradient's place, so that nothing else is needed. Those of two bytes stand in its first
     * half: a piece is written where pieces before it were read, and pieces double. At the beginning, where they would be too many, the new
     * weights are fp32 at first.
     *
     * @return the part's new weights in the dtype, in the gradient's memory, to be copied to the device; those of padding are undefined
     */
    public Tensor updateInPlace(
            int unit, long from, Tensor gradient, double learningRate, double gradScale, DType dtype) {
        OptimizerOps.Adamw settings = settings(learningRate, gradScale);
        long end = gradient.elements();
        long beginning = dtype == DType.F32 ? end : Math.min(BEGINNING, end);
        update(unit, from, gradient, new Interval(0, beginning), gradient, settings);
        Tensor updated = new Tensor(gradient.address(), dtype, end);
        if (dtype != DType.F32) {
            for (long at = 0; at < beginning; ) {
                long next = Math.min(beginning, Math.max(1, 2 * at));
                home.ops.convert(updated.slice(at, next - at), gradient.slice(at, next - at));
                at = next;
            }
        }
        for (long at = beginning; at < end; ) {
            long next = Math.min(end, 2 * at);
            update(unit, from, gradient, new Interval(at, next), updated, settings);
            at = next;
        }
        return updated;
    }

    /** The elements in the interval, of the part that begins there in the slice. */
    private void update(
            int unit, long from, Tensor gradient, Interval interval, Tensor parameters, OptimizerOps.Adamw settings) {
        Interval inSlice = new Interval(from + interval.from(), from + interval.to());
        for (DecayRange range : ranges.get(unit)) {
            Interval common = inSlice.intersect(new Interval(range.from, range.from + range.count));
            if (!common.isEmpty()) {
                long count = common.length();
                home.ops.adamw(
                        get(unit, Part.MASTER).slice(common.from(), count),
                        get(unit, Part.FIRST_MOMENT).slice(common.from(), count),
                        get(unit, Part.SECOND_MOMENT).slice(common.from(), count),
                        gradient.slice(common.from() - from, count),
                        parameters.slice(common.from() - from, count),
                        settings.withDecay(range.decays ? (float) config.weightDecay() : 0));
            }
        }
    }

    private OptimizerOps.Adamw settings(double learningRate, double gradScale) {
        return new OptimizerOps.Adamw(
                (float) learningRate,
                config.beta1(),
                config.beta2(),
                (float) config.eps(),
                0,
                (float) (1 - Math.pow(config.beta1(), updates)),
                (float) (1 - Math.pow(config.beta2(), updates)),
                (float) gradScale);
    }

    /**
     * Writes master weights, rounded, to parameters in memory of the same kind.
     *
     * @param from first of the slice's elements that are written: as many as there are parameters
     */
    public void copyMasterTo(int unit, long from, Tensor parameters) {
        home.ops.convert(parameters, get(unit, Part.MASTER).slice(from, parameters.elements()));
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
