package org.shardloom.worker.zero;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.LossScaler;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.weights.TensorSource;

/**
 * Training steps of one rank under ZeRO-2 or ZeRO-3. All ranks of the group call the same methods in the same order. One thread.
 */
public final class ZeroEngine implements AutoCloseable {
    private final Decoder decoder;
    private final TunedModel model;
    private final List<UnitSpec> trained;
    private final Device device;
    private final Collectives group;
    private final EngineConfig config;
    private final ShardPlan plan;
    private final ShardPlan parameterPlan;
    private final int[] trainedUnits;
    private final Memory parameterMemory;
    private final Memory gatheredMemory;
    private final Memory gradientMemory;
    private final Memory gradientSumMemory;
    private final boolean staged;
    private final ParameterStore parameters;
    private final GradientStore gradients;
    private final OptimizerShard optimizer;
    private final ParameterUpdate update;
    /** Null where an update waits for the norm. */
    private final EarlyUpdate early;

    private final LossScaler scaler;
    private final BlockStore blocks;
    private final MicroBatchPass pass;
    private final EvaluationPass evaluation;
    private final NonFiniteOrigin nonFinite;
    private final StepGuard guard;
    private final GenerationPass generation;
    private Consumer<String> phases = phase -> {};
    private boolean retired;

    /** Allocates everything that lives as long as the generation. The optimizer's state is zero until it is loaded. */
    public ZeroEngine(TunedModel model, EngineConfig config, Device device, Collectives group) {
        this(model, config, device, group, false);
    }

    /**
     * Allocates what lives as long as the generation.
     *
     * @param stateComes whoever brings the optimizer's state makes room for it, unit by unit, in {@link #optimizer}; else there is room, and
     *     it is zero
     */
    public ZeroEngine(TunedModel model, EngineConfig config, Device device, Collectives group, boolean stateComes) {
        this.config = config;
        this.model = model;
        this.device = device;
        this.group = group;
        this.decoder = new Decoder(model, device, config.maxPositions());
        this.trained = model.trained();
        this.plan = planOf(trained, group.size());
        this.parameterPlan = planOf(model.units(), group.size());
        this.trainedUnits = IntStream.range(0, model.units().size())
                .filter(u -> model.units().get(u).trained())
                .toArray();
        if (!config.placement().optimizerOnHost() && config.placement().stagesParameters(device)) {
            throw new IllegalArgumentException("an optimizer on the device updates parameters there");
        }
        this.staged = config.placement().stagesGradients(device);
        this.parameterMemory = config.placement().stagesParameters(device)
                ? device.hostMemory(Purpose.PARAMETERS)
                : device.memory(Purpose.PARAMETERS);
        this.gatheredMemory = device.memory(Purpose.GATHERED);
        this.gradientMemory = device.memory(Purpose.GRADIENTS);
        this.gradientSumMemory = device.hostMemory(Purpose.GRADIENTS);
        this.parameters = newParameters();
        this.gradients = new GradientStore(
                group,
                plan,
                model,
                device,
                staged,
                gradientMemory,
                gradientSumMemory,
                config.dtype(),
                config.singleRound());
        this.optimizer = new OptimizerShard(plan, group.rank(), trained, config.optimizer(), home(), stateComes);
        this.update = newUpdate();
        this.early = staged && config.updatesUnitsAsTheyCome() ? new EarlyUpdate(update, gradients) : null;
        if (early != null) {
            gradients.observe(early);
        }
        this.scaler = config.dtype() == DType.F16 ? LossScaler.dynamic() : LossScaler.none();
        this.blocks = new BlockStore(model, parameters, gradients);
        this.pass = new MicroBatchPass(decoder, blocks, device, config);
        this.evaluation = new EvaluationPass(decoder, blocks, device, config.dtype());
        this.guard = new StepGuard(config.spike());
        this.generation = new GenerationPass(decoder, blocks, device, group, config.dtype());
        this.nonFinite = new NonFiniteOrigin(model, evaluation, group, config.dtype());
    }

    /** An engine that trains all parameters of the model. */
    public ZeroEngine(DecoderConfig model, EngineConfig config, Device device, Collectives group) {
        this(TunedModel.full(model), config, device, group);
    }

    /** Is told from now on which phase of a step begins: forward, backward, communication, optimizer; null at the end of the last. */
    public void observePhases(Consumer<String> observer) {
        phases = observer;
    }

    /** How the units are cut for a world of that size. */
    public static ShardPlan planOf(List<UnitSpec> units, int worldSize) {
        return new ShardPlan(worldSize, units.stream().map(UnitSpec::size).toList());
    }

    ParameterUpdate newUpdate() {
        boolean copied = staged && !config.placement().parametersOnHost();
        return new ParameterUpdate(optimizer, parameters, gradients, trainedUnits, device, copied);
    }

    private OptimizerShard.Home home() {
        return staged ? OptimizerShard.Home.host(device) : OptimizerShard.Home.device(device);
    }

    private ParameterStore newParameters() {
        if (model.units().stream().allMatch(u -> u.quantization() == Quantization.NONE)) {
            return newParameters(parameterPlan);
        }
        return new QuantizedParameters(
                model.units(), parameterPlan, device, config.dtype(), gatheredMemory, this::newParameters);
    }

    private ParameterStore newParameters(ShardPlan plan) {
        DType[] dtypes = model.units().stream()
                .map(u -> u.fp32() || u.quantization() != Quantization.NONE ? DType.F32 : config.dtype())
                .toArray(DType[]::new);
        boolean gathers = config.placement().stagesParameters(device)
                || (config.zeroStage() == 3 && group.size() > 1 && !device.sharesHostMemory());
        if (gathers && plan == parameterPlan) {
            gatheredMemory.prepare(mostGathered(plan, dtypes));
        }
        // Units of a block are used together; quantised ones only until they are dequantised.
        int[] together = IntStream.range(0, dtypes.length)
                .map(u -> plan == parameterPlan ? model.units().get(u).block() : u)
                .toArray();
        if (config.placement().stagesParameters(device)) {
            return new GatheredParameters(group, plan, dtypes, together, parameterMemory, gatheredMemory, device);
        }
        if (config.zeroStage() == 2 || group.size() == 1) {
            return new ResidentParameters(group, plan, dtypes, parameterMemory, !device.sharesHostMemory());
        }
        ParameterStore inPlace = InPlaceParameters.tryCreate(group, plan, dtypes, device.statistics());
        return inPlace != null
                ? inPlace
                : new GatheredParameters(group, plan, dtypes, together, parameterMemory, gatheredMemory, null);
    }

    /** Bytes of what {@link MicroBatchPass} has gathered at most: a block and the next, but for the embedding. */
    private long mostGathered(ShardPlan plan, DType[] dtypes) {
        long[] bytes = new long[model.blockCount() + 1];
        for (int u = 0; u < dtypes.length; u++) {
            bytes[model.units().get(u).block()] += GatheredParameters.bytesInRoom(plan, u, dtypes[u]);
        }
        int head = model.blockCount() - 1;
        long most =
                Math.max(bytes[model.prefixBlock()], bytes[0] + (model.config().tiedEmbeddings() ? bytes[head] : 0));
        for (int block = 1; block < head; block++) {
            most = Math.max(most, bytes[block] + bytes[block + 1]);
        }
        return most;
    }

    /** How the trained units are cut: that of optimizer state and checkpoints. */
    public ShardPlan plan() {
        return plan;
    }

    /** The trained units. */
    public List<UnitSpec> units() {
        return trained;
    }

    public TunedModel model() {
        return model;
    }

    public OptimizerShard optimizer() {
        return optimizer;
    }

    public LossScaler scaler() {
        return scaler;
    }

    /** What is usual, of the steps so far. */
    public GuardState guardState() {
        return guard.state();
    }

    /** Goes on with what was usual before. */
    public void restoreGuard(GuardState state) {
        guard.restore(state);
    }

    /** This rank's slice of a unit of {@link #model}, in the dtype that it is computed with: to be filled where it is frozen. */
    public Tensor parameterSlice(int unit) {
        return parameters.slice(unit);
    }

    /** The device whose own memory {@link #parameterSlice} is in; null where it is the host's. */
    public Device parameterDevice() {
        return device.sharesHostMemory() || config.placement().parametersOnHost() ? null : device;
    }

    /**
     * Reads this rank's slices of the units that are kept quantised. Every rank must call it.
     *
     * @param files the model's own weights
     */
    void quantize(TensorSource files) throws IOException {
        if (parameters instanceof QuantizedParameters quantized) {
            QuantizedLoading loading = new QuantizedLoading(quantized, parameterPlan, group, files, parameterDevice());
            for (int u = 0; u < model.units().size(); u++) {
                if (quantized.layout(u) != null) {
                    loading.load(u, model.units().get(u));
                }
            }
        }
    }

    /** Rounds the master weights, loaded or moved by the caller, into the parameters of all ranks; frozen ones are published as they are. */
    public void publishMaster() {
        for (int t = 0; t < trainedUnits.length; t++) {
            Tensor slice = parameters.slice(trainedUnits[t]);
            if (!staged || config.placement().parametersOnHost()) {
                optimizer.copyMasterTo(t, 0, slice);
                continue;
            }
            for (GradientStore.Place place : gradients.places(t)) {
                Tensor part = slice.slice(place.from(), place.tensor().elements());
                Tensor rounded = new Tensor(place.tensor().address(), part.dtype(), part.elements());
                optimizer.copyMasterTo(t, place.from(), rounded);
                device.toDevice(part, rounded).await();
            }
        }
        parameters.publish(IntStream.range(0, model.units().size()).toArray());
    }

    /**
     * One optimizer step: forward and backward of this rank's micro-batches, reduction, clipping, update.
     *
     * @throws NonFiniteException when the loss is not finite, in bf16 and fp32 also when a gradient is not; the state is as before the step
     * @throws StepRefusedException when the step is so unlike those before that the run must not go on; likewise
     * @throws TornStepException where units are updated as their gradients come, when a later gradient, or the loss, is not finite
     */
    public StepResult step(StepInput input) {
        PhaseTimer timer = new PhaseTimer(phases);
        double lossSum = 0;
        if (early != null) {
            early.begin(input.learningRate());
        }
        for (int round = 0; round < input.rounds(); round++) {
            gradients.beginRound(round == 0, round == input.rounds() - 1);
            if (round < input.microBatches().size()) {
                double divisor = input.divisors().get(round);
                long key = input.dropoutKeys().get(round);
                lossSum += pass.run(input.microBatches().get(round), scaler.scale() / divisor, key, timer) / divisor;
            } else {
                pass.idle(timer);
            }
        }
        timer.begin("communication");
        gradients.finishAll();
        if (early != null) {
            timer.begin("optimizer");
            gradients.awaitObserver();
            early.finish();
            timer.begin("communication");
        }
        double[] totals = new double[trained.size() + 3];
        for (int u = 0; u < trained.size(); u++) {
            totals[u] = gradients.sumOfSquares(u);
        }
        totals[trained.size()] = lossSum;
        totals[trained.size() + 1] =
                input.microBatches().stream().mapToLong(b -> b.targets().length).sum();
        totals[trained.size() + 2] = early == null ? 0 : early.applied();
        totals = group.sum(totals);
        double loss = totals[trained.size()];
        boolean targets = totals[trained.size() + 1] > 0;
        double squares = 0;
        for (int u = 0; u < trained.size(); u++) {
            squares += totals[u];
        }
        double norm = Math.sqrt(squares) / scaler.scale();
        boolean finite = Double.isFinite(norm) && Double.isFinite(loss);
        // No loss scale cures the forward pass: only gradients are scaled.
        if (!Double.isFinite(loss) || !finite && !scaler.isDynamic()) {
            double[] byUnit = Arrays.copyOf(totals, trained.size());
            if (totals[trained.size() + 2] > 0) {
                throw nonFinite.torn(byUnit, loss);
            }
            if (early != null) {
                update.takeBack();
            }
            throw nonFinite.describe(input, byUnit, loss);
        }
        boolean applied = finite && (!targets || guard.judge(loss, norm) == StepGuard.Verdict.APPLY);
        if (!finite) {
            guard.overflow(scaler.scale());
        }
        if (applied) {
            timer.begin("optimizer");
            if (early == null) {
                updateAll(norm, input.learningRate());
            }
            update.finish();
        }
        scaler.update(finite);
        timer.begin("communication");
        parameters.publish(trainedUnits);
        return new StepResult(loss, norm, applied, timer.end());
    }

    private void updateAll(double norm, double learningRate) {
        // PyTorch's clip_grad_norm_: factor max / (norm + 1e-6), at most 1.
        double clip = config.maxGradNorm() > 0 ? Math.min(1, config.maxGradNorm() / (norm + 1e-6)) : 1;
        update.begin(learningRate);
        update.applyAll(clip / scaler.scale());
    }

    /**
     * Sum of the losses of a batch on this rank, without gradients. Every rank must call it equally often; with null a rank takes part
     * without a batch of its own.
     */
    public double evaluate(PackedBatch batch) {
        return evaluation.run(batch);
    }

    /** Forward passes that continue sequences. */
    public GenerationPass generation() {
        return generation;
    }

    /** Forward passes of the model without what the method adds. Every rank must call it. */
    public <T> T withoutAdapters(Function<GenerationPass, T> use) {
        TunedModel bare = new TunedModel(model.config(), model.units(), Adapters.NONE);
        try (Decoder without = new Decoder(bare, device, config.maxPositions())) {
            return use.apply(new GenerationPass(without, blocks, device, group, config.dtype()));
        }
    }

    /** Gradient of the unit over the last step, this rank's slice, until it is updated: for tests and diagnosis. */
    Tensor gradientSum(int unit) {
        return gradients.here(unit);
    }

    /** Whether the unit's {@link #gradientSum} is on the device though the optimizer is on the host. */
    boolean gradientStays(int unit) {
        return gradients.stays(unit);
    }

    public Collectives group() {
        return group;
    }

    /**
     * Gives back all but the optimizer's state, which is the host's from then on: no more steps, and memory for who takes that over. Not
     * where the device shares the host's memory, parts of which go with the group.
     */
    public void retire() {
        if (!retired && !device.sharesHostMemory()) {
            stateToHost();
            retired = true;
            closeDeviceParts();
        }
    }

    /** Brings the optimizer's state to the host's memory, where it can be handed to or from others; no step until {@link #stateHome}. */
    public void stateToHost() {
        if (optimizer.device() != null) {
            optimizer.move(OptimizerShard.Home.host(device), device);
        }
    }

    /** Brings the optimizer's state back to where it is updated. */
    public void stateHome() {
        if (!staged && !device.sharesHostMemory() && optimizer.device() == null) {
            optimizer.move(home(), device);
        }
    }

    @Override
    public void close() {
        if (!retired) {
            retired = true;
            closeDeviceParts();
        }
        optimizer.close();
    }

    private void closeDeviceParts() {
        decoder.close();
        gradients.close();
        update.close();
        parameters.close();
        gradientSumMemory.close();
        gradientMemory.close();
        gatheredMemory.close();
        parameterMemory.close();
    }
}
