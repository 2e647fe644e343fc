package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.protocol.plan.UnitSize;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.LayerState;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.UnitView;
import org.shardloom.worker.optim.LossScaler;
import org.shardloom.worker.optim.OptimizerShard;

/**
 * Training steps of one rank under ZeRO-2 or ZeRO-3. All ranks of the group call the same methods in the same order. One thread.
 */
public final class ZeroEngine implements AutoCloseable {
    private final Decoder decoder;
    private final List<UnitSpec> units;
    private final int head;
    private final boolean tied;
    private final Device device;
    private final Collectives group;
    private final EngineConfig config;
    private final ShardPlan plan;
    private final Memory parameterMemory;
    private final Memory gatheredMemory;
    private final Memory gradientMemory;
    private final Memory optimizerMemory;
    private final ParameterStore parameters;
    private final GradientStore gradients;
    private final OptimizerShard optimizer;
    private final LossScaler scaler;

    /** Allocates everything that lives as long as the generation. The optimizer's state is zero until it is loaded. */
    public ZeroEngine(DecoderConfig model, EngineConfig config, Device device, Collectives group) {
        this.config = config;
        this.device = device;
        this.group = group;
        this.decoder = new Decoder(model, device, config.maxPositions());
        this.units = decoder.units();
        this.head = units.size() - 1;
        this.tied = model.tiedEmbeddings();
        this.plan = planOf(units, group.size());
        this.parameterMemory = device.memory(Purpose.PARAMETERS);
        this.gatheredMemory = device.memory(Purpose.GATHERED);
        this.gradientMemory = device.memory(Purpose.GRADIENTS);
        this.optimizerMemory = device.memory(Purpose.OPTIMIZER);
        this.parameters = newParameters();
        this.gradients = new GradientStore(group, plan, tied, DType.F32, device, gradientMemory);
        this.optimizer = new OptimizerShard(plan, group.rank(), units, config.optimizer(), optimizerMemory);
        this.scaler = config.dtype() == DType.F16 ? LossScaler.dynamic() : LossScaler.none();
    }

    /** How the units are cut for a world of that size. */
    public static ShardPlan planOf(List<UnitSpec> units, int worldSize) {
        return new ShardPlan(
                worldSize,
                units.stream().map(u -> new UnitSize(u.name(), u.elements())).toList());
    }

    private ParameterStore newParameters() {
        if (config.zeroStage() == 2 || group.size() == 1) {
            return new ResidentParameters(group, plan, config.dtype(), parameterMemory);
        }
        ParameterStore inPlace = InPlaceParameters.tryCreate(group, plan, config.dtype(), device.statistics());
        return inPlace != null
                ? inPlace
                : new GatheredParameters(group, plan, config.dtype(), parameterMemory, gatheredMemory);
    }

    public ShardPlan plan() {
        return plan;
    }

    public List<UnitSpec> units() {
        return units;
    }

    public OptimizerShard optimizer() {
        return optimizer;
    }

    public LossScaler scaler() {
        return scaler;
    }

    /** Rounds the master weights, loaded or moved by the caller, into the parameters of all ranks. */
    public void publishMaster() {
        for (int u = 0; u < units.size(); u++) {
            optimizer.copyMasterTo(u, parameters.slice(u));
        }
        parameters.publish();
    }

    /**
     * One optimizer step: forward and backward of this rank's micro-batches, reduction, clipping, update.
     *
     * @throws NonFiniteException in bf16 and fp32 when a loss or gradient is not finite; the state is as before the step
     */
    public StepResult step(StepInput input) {
        PhaseTimer timer = new PhaseTimer();
        double lossSum = 0;
        for (int round = 0; round < input.rounds(); round++) {
            gradients.beginRound(round == 0);
            if (round < input.microBatches().size()) {
                double divisor = input.divisors().get(round);
                lossSum += microBatch(input.microBatches().get(round), scaler.scale() / divisor, timer) / divisor;
            } else {
                timer.begin("communication");
                idleRound();
            }
        }
        timer.begin("communication");
        gradients.finishAll();
        double[] totals = new double[units.size() + 1];
        for (int u = 0; u < units.size(); u++) {
            totals[u] = NativeCpu.sumOfSquares(
                    gradients.sum(u).address(), gradients.sum(u).elements());
        }
        totals[units.size()] = lossSum;
        totals = group.sum(totals);
        double loss = totals[units.size()];
        double squares = 0;
        for (int u = 0; u < units.size(); u++) {
            squares += totals[u];
        }
        double norm = Math.sqrt(squares) / scaler.scale();
        boolean finite = Double.isFinite(norm) && Double.isFinite(loss);
        if (!finite && !scaler.isDynamic()) {
            throw nonFinite(totals, loss);
        }
        if (finite) {
            timer.begin("optimizer");
            update(norm, input.learningRate());
        }
        scaler.update(finite);
        timer.begin("communication");
        parameters.publish();
        return new StepResult(loss, norm, finite, timer.end());
    }

    private void update(double norm, double learningRate) {
        // PyTorch's clip_grad_norm_: factor max / (norm + 1e-6), at most 1.
        double clip = config.maxGradNorm() > 0 ? Math.min(1, config.maxGradNorm() / (norm + 1e-6)) : 1;
        optimizer.beginUpdate();
        for (int u = 0; u < units.size(); u++) {
            optimizer.update(u, gradients.sum(u), learningRate, clip / scaler.scale(), parameters.slice(u));
        }
    }

    private NonFiniteException nonFinite(double[] totals, double loss) {
        List<String> bad = new ArrayList<>();
        for (int u = 0; u < units.size(); u++) {
            if (!Double.isFinite(totals[u])) {
                bad.add(units.get(u).name());
            }
        }
        return new NonFiniteException(
                "the loss is " + loss
                        + (bad.isEmpty()
                                ? ""
                                : " and the gradients of unit" + (bad.size() > 1 ? "s " : " ") + String.join(", ", bad)
                                        + " are not finite")
                        + "; the update was not applied. Lower train.learning_rate, or check the data and the starting weights");
    }

    private double microBatch(PackedBatch batch, double scale, PhaseTimer timer) {
        timer.begin("forward");
        Memory[] scopes = new Memory[head];
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = BatchOnDevice.of(device, kept, batch, true);
            Tensor x = kept.allocate(
                    config.dtype(), batch.tokens(), decoder.config().hidden());
            parameters.prefetch(0);
            parameters.prefetch(1);
            decoder.embed(view(0), inputs, x);
            if (!tied) {
                parameters.release(0);
            }
            LayerState[] states = new LayerState[head];
            for (int u = 1; u < head; u++) {
                UnitView p = view(u);
                parameters.prefetch(u + 1);
                Tensor out = kept.allocate(
                        config.dtype(), batch.tokens(), decoder.config().hidden());
                scopes[u] = device.memory(Purpose.ACTIVATIONS);
                states[u] = decoder.layer(p, inputs, x, scopes[u], out);
                if (config.recompute()) {
                    scopes[u].close();
                }
                parameters.release(u);
                x = out;
            }
            double loss = headStep(inputs, x, (float) scale, timer);
            for (int u = head - 1; u >= 1; u--) {
                UnitView p = view(u);
                if (u > 1) {
                    parameters.prefetch(u - 1);
                }
                if (config.recompute()) {
                    scopes[u] = device.memory(Purpose.ACTIVATIONS);
                    states[u] = decoder.layer(p, inputs, states[u].input, scopes[u], null);
                }
                UnitView g = new UnitView(units.get(u), acquire(u, timer));
                decoder.layerBackward(p, g, inputs, states[u], x);
                scopes[u].close();
                kept.free(states[u].input);
                gradients.reduce(u);
                parameters.release(u);
            }
            embeddingBackward(inputs, x, timer);
            return loss;
        } finally {
            // Where a collective failed half-way, some are open still.
            for (Memory scope : scopes) {
                if (scope != null) {
                    scope.close();
                }
            }
        }
    }

    private double headStep(BatchOnDevice inputs, Tensor x, float scale, PhaseTimer timer) {
        UnitView p = view(head);
        UnitView embedding = tied ? view(0) : null;
        UnitView g = new UnitView(units.get(head), acquire(head, timer));
        if (!tied) {
            device.ops()
                    .zero(g.flat()); // the buffer is the embedding's, too: no gradient of its may stay in the padding
        }
        UnitView embeddingGrad = tied ? new UnitView(units.get(0), gradients.acquireZeroed(0)) : null;
        timer.begin("backward");
        parameters.prefetch(head - 1);
        double loss = decoder.lossAndGradients(p, embedding, g, embeddingGrad, inputs, x, scale);
        gradients.reduce(head);
        parameters.release(head);
        if (tied) {
            parameters.release(0);
        }
        return loss;
    }

    private void embeddingBackward(BatchOnDevice inputs, Tensor gradX, PhaseTimer timer) {
        Tensor flat = gradients.acquire(0);
        if (!tied) {
            device.ops().zero(flat);
        }
        decoder.embedBackward(new UnitView(units.get(0), flat), inputs, gradX);
        gradients.reduce(0);
        parameters.release(0);
    }

    private Tensor acquire(int unit, PhaseTimer timer) {
        String phase = timer.begin("communication");
        Tensor buffer = gradients.acquire(unit);
        timer.begin(phase);
        return buffer;
    }

    /** Issues what a micro-batch issues to the group, with nothing to compute. */
    private void idleRound() {
        parameters.prefetch(0);
        parameters.prefetch(1);
        parameters.gather(0);
        if (!tied) {
            parameters.release(0);
        }
        for (int u = 1; u < head; u++) {
            parameters.gather(u);
            parameters.prefetch(u + 1);
            parameters.release(u);
        }
        parameters.gather(head);
        if (tied) {
            parameters.gather(0);
        }
        parameters.prefetch(head - 1);
        gradients.reduceNothing(head);
        parameters.release(head);
        if (tied) {
            parameters.release(0);
        }
        for (int u = head - 1; u >= 1; u--) {
            parameters.gather(u);
            if (u > 1) {
                parameters.prefetch(u - 1);
            }
            gradients.reduceNothing(u);
            parameters.release(u);
        }
        gradients.reduceNothing(0);
        parameters.release(0);
    }

    private UnitView view(int unit) {
        return new UnitView(units.get(unit), parameters.gather(unit));
    }

    /** Sum of losses and number of targets of a batch on this rank, without gradients. Every rank must call it equally often. */
    public double evaluate(PackedBatch batch) {
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = BatchOnDevice.of(device, kept, batch, false);
            Tensor x = forward(inputs, kept);
            UnitView embedding = tied ? view(0) : null;
            double loss = decoder.loss(view(head), embedding, inputs, x);
            parameters.release(head);
            parameters.release(0);
            return loss;
        }
    }

    private Tensor forward(BatchOnDevice inputs, Memory kept) {
        long tokens = inputs.host().tokens();
        Tensor x = kept.allocate(config.dtype(), tokens, decoder.config().hidden());
        Tensor y = kept.allocate(config.dtype(), tokens, decoder.config().hidden());
        decoder.embed(view(0), inputs, x);
        parameters.release(0);
        for (int u = 1; u < head; u++) {
            UnitView p = view(u);
            parameters.prefetch(u + 1);
            try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
                decoder.layer(p, inputs, x, scope, y);
            }
            parameters.release(u);
            Tensor swap = x;
            x = y;
            y = swap;
        }
        return x;
    }

    /** Gradient of the unit over the last step, this rank's slice: for tests and diagnosis. */
    Tensor gradientSum(int unit) {
        return gradients.sum(unit);
    }

    public Collectives group() {
        return group;
    }

    @Override
    public void close() {
        decoder.close();
        parameters.close();
        gradients.close();
        optimizerMemory.close();
        gradientMemory.close();
        gatheredMemory.close();
        parameterMemory.close();
    }
}
