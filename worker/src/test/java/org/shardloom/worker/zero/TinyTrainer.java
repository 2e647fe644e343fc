package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.StepShares;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** One rank that trains tiny-chatglm3 from its published weights. */
public final class TinyTrainer implements AutoCloseable {
    /** Where parameters lie: with every rank, with their owners in shared memory, or with their owners in separate memories. */
    public enum Sharding {
        ZERO_2(2, false),
        ZERO_3_IN_PLACE(3, false),
        ZERO_3_GATHERED(3, true),
        SPLIT_ZERO_2(2, Placement.OFFLOADED_OPTIMIZER),
        SPLIT_ZERO_3(3, Placement.OFFLOADED_OPTIMIZER),
        SPLIT_ZERO_3_OFFLOADED(3, new Placement(true, true)),
        SPLIT_ZERO_2_ON_DEVICE(2, new Placement(false, false)),
        SPLIT_ZERO_3_ON_DEVICE(3, new Placement(false, false));

        final int stage;
        final boolean separate;
        /** The device has memory of its own. */
        final boolean split;

        final Placement placement;

        Sharding(int stage, boolean separate) {
            this.stage = stage;
            this.separate = separate;
            this.split = false;
            this.placement = Placement.OFFLOADED_OPTIMIZER;
        }

        Sharding(int stage, Placement placement) {
            this.stage = stage;
            this.separate = true;
            this.split = true;
            this.placement = placement;
        }
    }

    public final Device device;
    public final ZeroEngine engine;
    private final Collectives group;
    private final boolean ownsDevice;
    private final TensorSource train;

    public TinyTrainer(Collectives given, DType dtype, Sharding sharding, boolean recompute, OptimizerConfig optimizer)
            throws IOException {
        this(
                given,
                config(dtype, sharding, recompute, optimizer, 1, SpikeConfig.Action.IGNORE, singleRound(given)),
                sharding,
                sharding.split ? new SplitDevice() : new CpuDevice(1),
                true);
    }

    private static EngineConfig config(
            DType dtype,
            Sharding sharding,
            boolean recompute,
            OptimizerConfig optimizer,
            double maxGradNorm,
            SpikeConfig.Action action,
            boolean singleRound) {
        return new EngineConfig(
                dtype,
                sharding.stage,
                recompute,
                optimizer,
                maxGradNorm,
                128,
                new SpikeConfig(action, 100),
                sharding.placement,
                singleRound);
    }

    /** Whether a step of four micro-batches, as those of the traces are, is one round. */
    private static boolean singleRound(Collectives group) {
        return group.size() >= 4;
    }

    /** Without clipping, in fp32, on a device and in a group that outlive this. */
    static TinyTrainer unclipped(Collectives group, Sharding sharding, SpikeConfig.Action action, Device device)
            throws IOException {
        EngineConfig config = config(DType.F32, sharding, true, TinyModel.ADAMW, 0, action, singleRound(group));
        return new TinyTrainer(group, config, sharding, device, false);
    }

    /** Of steps of at most as many micro-batches as there are ranks, on a device and in a group that outlive this. */
    static TinyTrainer singleRound(Collectives group, DType dtype, Sharding sharding, double maxGradNorm, Device device)
            throws IOException {
        EngineConfig config =
                config(dtype, sharding, true, TinyModel.ADAMW, maxGradNorm, SpikeConfig.Action.IGNORE, true);
        return new TinyTrainer(group, config, sharding, device, false);
    }

    /** On a device and in a group that outlive this. */
    public TinyTrainer(
            Collectives given,
            DType dtype,
            Sharding sharding,
            boolean recompute,
            OptimizerConfig optimizer,
            Device device)
            throws IOException {
        this(
                given,
                config(dtype, sharding, recompute, optimizer, 1, SpikeConfig.Action.IGNORE, singleRound(given)),
                sharding,
                device,
                false);
    }

    /** With a guard, on a device and in a group that outlive this. */
    static TinyTrainer guarded(Collectives group, DType dtype, Device device) throws IOException {
        Sharding sharding = Sharding.ZERO_3_IN_PLACE;
        EngineConfig config =
                config(dtype, sharding, true, TinyModel.ADAMW, 1, SpikeConfig.Action.PAUSE, singleRound(group));
        return new TinyTrainer(group, config, sharding, device, false);
    }

    private TinyTrainer(Collectives given, EngineConfig config, Sharding sharding, Device device, boolean ownsDevice)
            throws IOException {
        this.device = device;
        this.ownsDevice = ownsDevice;
        Path directory = SharedFixtures.tinyChatglm3();
        group = sharding.separate && ownsDevice ? SeparateMemories.over(given) : given;
        train = TinyModel.open(directory.resolve("train.safetensors"));
        engine = new ZeroEngine(ModelConfigReader.read(directory), config, device, group);
        try (TensorSource weights = WeightsDirectory.open(directory)) {
            MasterWeights.check(engine.units(), weights, "test");
            MasterWeights.load(engine.units(), engine.plan(), group.rank(), weights, new MasterWeights.Slices() {
                @Override
                public Tensor of(int unit) {
                    return engine.optimizer().master(unit);
                }

                @Override
                public Device device(int unit) {
                    return engine.optimizer().device();
                }
            });
        }
        engine.publishMaster();
    }

    /** As usual: fp32, ZeRO-3, the reference's optimizer. */
    public static TinyTrainer open(Collectives group) throws IOException {
        return new TinyTrainer(group, DType.F32, Sharding.ZERO_3_IN_PLACE, false, TinyModel.ADAMW);
    }

    /** A step of the accum4 trace: the mean of four micro-batches' means. */
    public StepResult accumulated(int step) throws IOException {
        List<PackedBatch> all = TinyModel.microBatches(train, step, 4);
        List<Double> divisors = new ArrayList<>();
        all.forEach(batch -> divisors.add(batch.targets().length * 4.0));
        return step(all, divisors, TinyModel.rate(step));
    }

    /** A step of the plain trace, its sixteen sequences in four micro-batches: the mean of all target tokens. */
    public StepResult plain(int step) throws IOException {
        return plain(step, 4);
    }

    /** The same in another number of micro-batches. */
    StepResult plain(int step, int microBatches) throws IOException {
        List<PackedBatch> all = TinyModel.microBatches(train, step, microBatches);
        double targets = all.stream().mapToInt(b -> b.targets().length).sum();
        return step(all, all.stream().map(b -> targets).toList(), TinyModel.rate(step));
    }

    /** Takes this rank's share of the micro-batches. */
    public StepResult step(List<PackedBatch> all, List<Double> divisors, double rate) {
        StepShares share = new StepShares(all.size(), group.size(), group.rank());
        int[] own = share.own();
        return engine.step(new StepInput(
                Arrays.stream(own).mapToObj(all::get).toList(),
                Arrays.stream(own).mapToObj(divisors::get).toList(),
                share.rounds(),
                rate));
    }

    public TensorSource train() {
        return train;
    }

    /** This rank's part of a unit's state, without padding. */
    public float[] state(int unit, Part part) {
        Interval owned = engine.plan().owned(unit, group.rank());
        Tensor own = engine.optimizer().get(unit, part).slice(0, owned.length());
        return engine.optimizer().device() == null ? TestDevices.hostFloats(device, own) : Inputs.toFloats(device, own);
    }

    /** {@link #state} of every unit and part. */
    public float[][][] state() {
        float[][][] all = new float[engine.units().size()][Part.values().length][];
        for (int u = 0; u < all.length; u++) {
            for (Part part : Part.values()) {
                all[u][part.ordinal()] = state(u, part);
            }
        }
        return all;
    }

    /** The ranks' parts put together: [unit][part][elements]. */
    public static float[][][] whole(List<float[][][]> byRank) {
        float[][][] all = new float[byRank.get(0).length][Part.values().length][];
        for (int u = 0; u < all.length; u++) {
            for (int p = 0; p < all[u].length; p++) {
                int n = 0;
                for (float[][][] rank : byRank) {
                    n += rank[u][p].length;
                }
                all[u][p] = new float[n];
                int at = 0;
                for (float[][][] rank : byRank) {
                    System.arraycopy(rank[u][p], 0, all[u][p], at, rank[u][p].length);
                    at += rank[u][p].length;
                }
            }
        }
        return all;
    }

    @Override
    public void close() {
        try {
            train.close();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
        engine.close();
        if (ownsDevice) {
            device.close();
        }
        if (group instanceof SeparateMemories) {
            group.close();
        }
    }
}
