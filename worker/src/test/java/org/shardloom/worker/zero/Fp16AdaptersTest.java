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
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;

/** Adapters over a base in fp16: in fp32 they learn; kept in fp16 as other tools do, their numbers end, and the step says so. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class Fp16AdaptersTest {
    private final Path base = SharedFixtures.tinyChatglm3();

    private ZeroEngine engine(CpuDevice device, boolean inFp32) throws Exception {
        TunedModel model = Tuning.of(ModelConfigReader.read(base), new TuningMethod.Lora(8, 32, 0, List.of("all")));
        if (!inFp32) {
            List<UnitSpec> units = model.units().stream()
                    .map(u -> new UnitSpec(
                            u.name(), u.block(), u.trained(), false, u.quantization(), u.parameters(), u.elements()))
                    .toList();
            model = new TunedModel(model.config(), units, model.adapters());
        }
        EngineConfig config = new EngineConfig(
                DType.F16,
                3,
                true,
                TinyModel.ADAMW,
                1.0,
                128,
                new SpikeConfig(SpikeConfig.Action.PAUSE, 100),
                Placement.OFFLOADED_OPTIMIZER);
        ZeroEngine engine = new ZeroEngine(model, config, device, new LocalCollectives());
        if (inFp32) {
            StartWeights.fillAll(
                    new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
        } else {
            // What is not fp32 counts as the model's own: its files lack it.
            StartWeights.fillAll(
                    new ModelConfigSource(base, ModelConfigSource.Init.RANDOM, Optional.empty()), 1, engine);
        }
        engine.publishMaster();
        return engine;
    }

    private static List<PackedBatch> batches(TensorSource train) throws Exception {
        List<PackedBatch> all = new ArrayList<>();
        for (int step = 1; step <= 5; step++) {
            all.addAll(TinyModel.microBatches(train, step, 16));
        }
        return all;
    }

    private static double step(ZeroEngine engine, PackedBatch batch, double rate) {
        return engine.step(new StepInput(List.of(batch), List.of((double) batch.targets().length), 1, rate))
                .loss();
    }

    @Test
    void inFp32TheyStayFiniteAndLearnFor200Steps() throws Exception {
        try (CpuDevice device = new CpuDevice(2);
                TensorSource train = TinyModel.open(base.resolve("train.safetensors"));
                ZeroEngine engine = engine(device, true)) {
            List<PackedBatch> batches = batches(train);
            double first = 0;
            double last = 0;
            for (int step = 0; step < 200; step++) {
                double loss = step(engine, batches.get(step % batches.size()), 3e-3);
                assertTrue(Double.isFinite(loss) && loss > 0, "step " + step + ": " + loss);
                first += step < 5 ? loss / 5 : 0;
                last += step >= 195 ? loss / 5 : 0;
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
                ZeroEngine engine = engine(device, false)) {
            List<PackedBatch> batches = batches(train);
            // Beyond 65504 a weight is infinite in fp16; in fp32, as adapters are kept, it is not.
            step(engine, batches.get(0), 1e5);
            double scale = engine.scaler().scale();
            String message = assertThrows(NonFiniteException.class, () -> step(engine, batches.get(1), 1e5))
                    .getMessage();
            assertTrue(
                    message.contains("the output of unit layers.0 is not finite")
                            && message.contains("precision: bf16"),
                    message);
            assertEquals(scale, engine.scaler().scale(), "no scale is tried that could not help");
            assertEquals(1, engine.optimizer().updates(), "nothing was updated since");
        }
    }
}
