package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.DoubleSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;

/** Architectures and methods without reference numbers: gradients against finite differences of the loss, and training. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class GradientCheckTest {

    static Stream<Arguments> models() {
        return Stream.of(
                Arguments.of("qwen2 with two layers", SmallModels.qwen2(2)),
                Arguments.of("qwen2 with one layer", SmallModels.qwen2(1)),
                Arguments.of("chatglm with one layer", SmallModels.chatglm(1)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("models")
    void theGradientOfEveryParameterIsTheSlopeOfTheLossAlongIt(String name, DecoderConfig config) {
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = SmallModels.random(config, device, new LocalCollectives(), 11)) {
            assertSlopes(engine, device, SmallModels.batch(config, 5));
        }
    }

    /** The other families' adapters are compared with peft's. */
    static Stream<Arguments> adapters() {
        TuningMethod.Lora lora = new TuningMethod.Lora(8, 16, 0, List.of("all"));
        return Stream.of(true, false)
                .flatMap(recompute -> Stream.of(
                        Arguments.of(lora, recompute),
                        Arguments.of(new TuningMethod.Lora(8, 16, 0.25, List.of("all")), recompute),
                        Arguments.of(lora.over(Quantization.NF4), recompute),
                        Arguments.of(lora.over(Quantization.NF4_DOUBLE), recompute)));
    }

    @ParameterizedTest
    @MethodSource("adapters")
    void theGradientOfEveryAdapterOfChatglm6bIsTheSlopeOfTheLossAlongIt(TuningMethod.Lora method, boolean recompute)
            throws Exception {
        Path fixture = SharedFixtures.require("tiny-chatglm1");
        Path base = fixture.resolve("safetensors-fp32");
        TunedModel model = Tuning.of(ModelConfigReader.read(base), method);
        try (TensorSource reference = TinyModel.open(fixture.resolve("reference.safetensors"));
                CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = new ZeroEngine(
                        model,
                        new EngineConfig(DType.F32, 3, recompute, TinyModel.ADAMW, 1.0, 128),
                        device,
                        new LocalCollectives())) {
            StartWeights.fillAll(
                    new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
            assertEquals(model.config().layers(), engine.units().size(), "an adapter unit in every layer");
            for (UnitSpec unit : engine.units()) {
                // query_key_value, dense, dense_h_to_4h and dense_4h_to_h, of each A and B.
                assertEquals(8, unit.parameters().size(), unit.name());
            }
            PackedBatch batch = TinyModel.batch(reference, "", 0, 3);
            if (method.dropout() == 0) {
                assertSlopes(engine, device, batch);
            } else {
                assertSlopes(engine, device, batch, 77);
                assertNotEquals(stepLoss(engine, batch, 77), stepLoss(engine, batch, 78), "another key drops others");
                assertNotEquals(stepLoss(engine, batch, 77), stepLoss(engine, batch, 0), "nothing is dropped");
            }
        }
    }

    private static void assertSlopes(ZeroEngine engine, CpuDevice device, PackedBatch batch) {
        assertSlopes(engine, device, batch, 0);
    }

    /**
     * Moves every parameter to a random place, and then along its gradient there and back.
     *
     * @param dropoutKey of all passes; without one the loss is an evaluation's
     */
    private static void assertSlopes(ZeroEngine engine, CpuDevice device, PackedBatch batch, long dropoutKey) {
        shake(engine, device);
        stepLoss(engine, batch, dropoutKey);
        List<float[]> sums = new ArrayList<>();
        for (int u = 0; u < engine.units().size(); u++) {
            sums.add(Inputs.toFloats(device, engine.gradientSum(u)));
        }
        DoubleSupplier loss = dropoutKey == 0
                ? () -> engine.evaluate(batch) / batch.targets().length
                : () -> stepLoss(engine, batch, dropoutKey);
        for (int u = 0; u < engine.units().size(); u++) {
            UnitSpec unit = engine.units().get(u);
            float[] gradients = sums.get(u);
            for (ParameterSpec p : unit.parameters().values()) {
                float[] gradient =
                        java.util.Arrays.copyOfRange(gradients, (int) p.offset(), (int) (p.offset() + p.elements()));
                double norm = norm(gradient);
                assertTrue(norm > 1e-4, unit.name() + " " + p.name() + " has the gradient " + norm);
                FloatBuffer master = floats(engine.optimizer().get(u, Part.MASTER));
                double step = 0.02 / Math.max(1, norm);
                double up = lossAt(engine, master, p, gradient, step / norm, loss);
                double down = lossAt(engine, master, p, gradient, -step / norm, loss);
                double slope = (up - down) / (2 * step);
                assertEquals(norm, slope, 0.02 * norm + 5e-5, unit.name() + " " + p.name());
            }
        }
    }

    /** The mean loss of a step that moves nothing. */
    private static double stepLoss(ZeroEngine engine, PackedBatch batch, long dropoutKey) {
        double divisor = batch.targets().length;
        return engine.step(new StepInput(List.of(batch), List.of(divisor), List.of(dropoutKey), 1, 0))
                .loss();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("models")
    void itTrainsTheSameOnOneTwoAndThreeRanks(String name, DecoderConfig config) throws Exception {
        double[][] losses = new double[4][];
        for (int world = 1; world <= 3; world++) {
            losses[world] = Ranks.run(world, (rank, group) -> {
                        try (CpuDevice device = new CpuDevice(1);
                                ZeroEngine engine = SmallModels.random(config, device, group, 11)) {
                            double[] trace = new double[12];
                            for (int step = 0; step < trace.length; step++) {
                                PackedBatch batch = SmallModels.batch(config, step % 2);
                                double divisor = batch.targets().length;
                                List<PackedBatch> own = rank == 0 ? List.of(batch) : List.of();
                                trace[step] = engine.step(new StepInput(own, List.of(divisor), 1, 5e-3))
                                        .loss();
                            }
                            return trace;
                        }
                    })
                    .get(0);
            org.junit.jupiter.api.Assertions.assertArrayEquals(losses[1], losses[world], 1e-5);
        }
        assertTrue(losses[1][11] < losses[1][1] - 0.5, "the loss falls: " + java.util.Arrays.toString(losses[1]));
    }

    /** Zero biases and norms of one would hide mistakes. */
    private static void shake(ZeroEngine engine, CpuDevice device) {
        Random random = new Random(3);
        for (int u = 0; u < engine.units().size(); u++) {
            FloatBuffer master = floats(engine.optimizer().get(u, Part.MASTER));
            for (ParameterSpec p : engine.units().get(u).parameters().values()) {
                for (int i = (int) p.offset(); i < p.offset() + p.elements(); i++) {
                    master.put(i, master.get(i) + (float) (0.15 * random.nextGaussian()));
                }
            }
        }
        engine.publishMaster();
    }

    private static double lossAt(
            ZeroEngine engine,
            FloatBuffer master,
            ParameterSpec p,
            float[] direction,
            double length,
            DoubleSupplier lossThere) {
        float[] saved = new float[direction.length];
        master.get((int) p.offset(), saved);
        for (int i = 0; i < saved.length; i++) {
            master.put((int) p.offset() + i, (float) (saved[i] + length * direction[i]));
        }
        engine.publishMaster();
        double loss = lossThere.getAsDouble();
        master.put((int) p.offset(), saved);
        engine.publishMaster();
        return loss;
    }

    private static double norm(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += (double) value * value;
        }
        return Math.sqrt(sum);
    }

    private static FloatBuffer floats(Tensor tensor) {
        return HostBytes.view(tensor.address(), tensor.bytes()).asFloatBuffer();
    }
}
