package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;

/**
 * Adapters over a base in fp16. In fp32, as they are kept here, they learn. Kept and updated in fp16, as other tools do, the same adapters on the
 * same base, samples and rate are lost: 1e-8, AdamW's eps, is 0 in fp16; the gradient of A is 0 while B is, and 0 / 0 is no number.
 */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class Fp16AdaptersTest {
    private static final int STEPS = 200;
    private static final double RATE = 3e-3;
    private final Path base = SharedFixtures.tinyChatglm3();

    private ZeroEngine engine(CpuDevice device, TunedModel model, OptimizerConfig optimizer) {
        EngineConfig config = new EngineConfig(
                DType.F16,
                3,
                true,
                optimizer,
                1.0,
                128,
                new SpikeConfig(SpikeConfig.Action.PAUSE, 100),
                Placement.OFFLOADED_OPTIMIZER,
                false);
        return new ZeroEngine(model, config, device, new LocalCollectives());
    }

    private TunedModel model() {
        return Tuning.of(ModelConfigReader.read(base), new TuningMethod.Lora(8, 32, 0, List.of("all")));
    }

    private ZeroEngine inFp32(CpuDevice device) throws Exception {
        ZeroEngine engine = engine(device, model(), TinyModel.ADAMW);
        StartWeights.fillAll(
                new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
        engine.publishMaster();
        return engine;
    }

    /** What {@link #inFp32} starts with, but that the adapters are computed with in fp16, and updated with the eps that fp16 has. */
    private ZeroEngine inFp16(CpuDevice device) throws Exception {
        TunedModel model = model();
        List<UnitSpec> units = model.units().stream()
                .map(u -> new UnitSpec(
                        u.name(),
                        u.block(),
                        u.trained(),
                        u.added(),
                        false,
                        u.quantization(),
                        u.parameters(),
                        u.elements()))
                .toList();
        OptimizerConfig usual = TinyModel.ADAMW;
        OptimizerConfig optimizer = new OptimizerConfig(
                usual.type(), usual.beta1(), usual.beta2(), inFp16(usual.eps()), usual.weightDecay(), usual.noDecay());
        ZeroEngine engine = engine(device, new TunedModel(model.config(), units, model.adapters()), optimizer);
        try (ZeroEngine other = inFp32(device)) {
            for (int u = 0; u < units.size(); u++) {
                if (!units.get(u).trained()) {
                    copy(engine.parameterSlice(u), other.parameterSlice(u));
                }
            }
            for (int t = 0; t < engine.units().size(); t++) {
                copy(engine.optimizer().master(t), other.optimizer().master(t));
            }
        }
        engine.publishMaster();
        return engine;
    }

    private static void copy(Tensor to, Tensor from) {
        assertEquals(from.bytes(), to.bytes());
        NativeCpu.copy(to.address(), from.address(), from.bytes());
    }

    private static double inFp16(double value) {
        try (CpuDevice device = new CpuDevice(1);
                Memory memory = device.memory(Purpose.WORKSPACE)) {
            Tensor rounded = Inputs.floats(device, memory, new float[] {(float) value}, 1);
            roundToFp16(device, rounded);
            return Inputs.toFloats(device, rounded)[0];
        }
    }

    private static void roundToFp16(CpuDevice device, Tensor values) {
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            Tensor rounded = memory.allocate(DType.F16, values.elements());
            device.ops().convert(rounded, values);
            device.ops().convert(values, rounded);
        }
    }

    /** Weights and moments are kept in fp16 from step to step: there is no master copy. */
    private static void keepInFp16(CpuDevice device, ZeroEngine engine) {
        for (int t = 0; t < engine.units().size(); t++) {
            for (OptimizerShard.Part part : OptimizerShard.Part.values()) {
                roundToFp16(device, engine.optimizer().get(t, part));
            }
        }
        engine.publishMaster();
    }

    private static List<PackedBatch> batches(TensorSource train) throws Exception {
        List<PackedBatch> all = new ArrayList<>();
        for (int step = 1; step <= 5; step++) {
            all.addAll(TinyModel.microBatches(train, step, 16));
        }
        return all;
    }

    private static double step(ZeroEngine engine, PackedBatch batch) {
        return engine.step(new StepInput(List.of(batch), List.of((double) batch.targets().length), 1, RATE))
                .loss();
    }

    @Test
    void inFp32TheyStayFiniteAndLearnFor200Steps() throws Exception {
        try (CpuDevice device = new CpuDevice(2);
                TensorSource train = TinyModel.open(base.resolve("train.safetensors"));
                ZeroEngine engine = inFp32(device)) {
            List<PackedBatch> batches = batches(train);
            double first = 0;
            double last = 0;
            for (int step = 0; step < STEPS; step++) {
                double loss = step(engine, batches.get(step % batches.size()));
                assertTrue(Double.isFinite(loss) && loss > 0, "step " + step + ": " + loss);
                first += step < 5 ? loss / 5 : 0;
                last += step >= STEPS - 5 ? loss / 5 : 0;
            }
            assertTrue(last < first - 0.5, first + " to " + last);
            assertTrue(
                    engine.scaler().scale() >= 1024, "scale " + engine.scaler().scale());
        }
    }

    @Test
    void inFp16TheirNumbersEndAndTheRunStopsBeforeTheUpdate() throws Exception {
        try (CpuDevice device = new CpuDevice(2);
                TensorSource train = TinyModel.open(base.resolve("train.safetensors"));
                ZeroEngine engine = inFp16(device)) {
            List<PackedBatch> batches = batches(train);
            double first = step(engine, batches.get(0));
            assertTrue(Double.isFinite(first) && first > 0, "the start is as good as in fp32");
            keepInFp16(device, engine);
            double scale = engine.scaler().scale();
            String message = assertThrows(NonFiniteException.class, () -> step(engine, batches.get(1)))
                    .getMessage();
            assertTrue(
                    message.contains("the output of unit layers.0 with layers.0.lora is not finite") // the first that
                            // has adapters
                            && message.contains("is not finite; the update was not applied")
                            && message.contains("precision: bf16"),
                    message);
            assertEquals(scale, engine.scaler().scale(), "no scale is tried that could not help");
            assertEquals(1, engine.optimizer().updates(), "nothing was updated since");
        }
    }
}
