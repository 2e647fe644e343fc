package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** Losses, gradients and traces of the tiny ChatGLM models against the original implementation in PyTorch. */
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class TinyChatglmTest {
    @Tag("any-device")
    @ParameterizedTest
    @CsvSource({
        "kept with the tests,.,false",
        "kept with the tests,.,true",
        "tiny-chatglm3,bin-fp32,false",
        "tiny-chatglm3,safetensors-fp16,true",
        "tiny-chatglm3,bin-fp16-single,false",
        "tiny-chatglm2,bin-fp16,true",
        "tiny-chatglm2,safetensors-fp32,false",
        "tiny-chatglm1,safetensors-fp32,false",
        "tiny-chatglm1,bin-fp16,true"
    })
    void lossAndEveryGradientEqualTheReference(String model, String variant, boolean recompute) throws Exception {
        Path dir = model.startsWith("kept") ? SharedFixtures.tinyChatglm3() : SharedFixtures.require(model);
        try (TensorSource reference = TinyModel.open(dir.resolve("reference.safetensors"));
                TensorSource weights = WeightsDirectory.open(dir.resolve(variant));
                Device device = TestDevices.open();
                ZeroEngine engine = engine(dir.resolve(variant), device, recompute)) {
            load(engine, weights);
            PackedBatch batch = TinyModel.batch(reference, "", 0, 3);
            float loss = reference.readAll("loss")[0];
            float norm = reference.readAll("grad_norm")[0];
            float[][] gradients = TestDevices.gradients(engine, device, () -> {
                StepResult result =
                        engine.step(new StepInput(List.of(batch), List.of((double) batch.targets().length), 1, 0));
                assertEquals(loss, result.loss(), 1e-5);
                assertEquals(norm, result.gradNorm(), 1e-4);
            });
            for (int u = 0; u < engine.units().size(); u++) {
                float[] flat = gradients[u];
                for (ParameterSpec p : engine.units().get(u).parameters().values()) {
                    for (ParameterSpec.Source s : p.sources()) {
                        float[] expected = reference.readAll("grad/" + s.name());
                        assertRelative(s.name(), expected, flat, (int) (p.offset() + s.firstRow() * p.columns()), 1e-4);
                    }
                }
            }
        }
    }

    @Tag("any-device")
    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm3", "tiny-chatglm2", "tiny-chatglm1"})
    void twentyStepsEqualTheReference(String model) throws Exception {
        assertTrace(model, "plain");
    }

    /** Twenty steps of whole batches, or of four micro-batches each. */
    static void assertTrace(String model, String trace) throws Exception {
        Path dir = SharedFixtures.require(model);
        try (TensorSource train = TinyModel.open(dir.resolve("train.safetensors"));
                TensorSource weights = WeightsDirectory.open(dir.resolve("safetensors-fp32"));
                Device device = TestDevices.open();
                ZeroEngine engine = engine(dir.resolve("safetensors-fp32"), device, false)) {
            load(engine, weights);
            float[] losses = train.readAll(trace + "/loss");
            float[] norms = train.readAll(trace + "/grad_norm");
            for (int step = 1; step <= 20; step++) {
                String prefix = "batch/" + (step - 1) % 5 + "/";
                List<PackedBatch> batches = new ArrayList<>();
                List<Double> divisors = new ArrayList<>();
                int rows = trace.equals("plain") ? 16 : 4;
                for (int from = 0; from < 16; from += rows) {
                    PackedBatch batch = TinyModel.batch(train, prefix, from, from + rows);
                    batches.add(batch);
                    divisors.add((double) batch.targets().length * (16 / rows));
                }
                StepResult r =
                        engine.step(new StepInput(batches, divisors, batches.size(), 1e-3 * Math.min(1, step / 3.0)));
                assertEquals(losses[step - 1], r.loss(), 1e-4 * losses[step - 1], "loss of step " + step);
                assertEquals(norms[step - 1], r.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
            }
        }
    }

    static ZeroEngine engine(Path modelDir, Device device, boolean recompute) {
        DecoderConfig config = ModelConfigReader.read(modelDir);
        return new ZeroEngine(
                config,
                new EngineConfig(DType.F32, 3, recompute, TinyModel.ADAMW, 1.0, 128),
                device,
                TestDevices.alone(device));
    }

    static void load(ZeroEngine engine, TensorSource weights) throws Exception {
        MasterWeights.check(engine.units(), weights, "test");
        MasterWeights.load(engine.units(), engine.plan(), 0, weights, engine.optimizer()::master);
        engine.publishMaster();
    }

    static void assertRelative(String name, float[] expected, float[] actual, int offset, double tolerance) {
        double difference = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += Math.pow(expected[i] - actual[offset + i], 2);
            size += Math.pow(expected[i], 2);
        }
        double relative = Math.sqrt(difference / Math.max(size, 1e-20));
        assertTrue(relative < tolerance, name + " differs by " + relative);
    }
}
