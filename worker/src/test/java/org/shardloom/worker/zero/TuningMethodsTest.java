package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.plan.StepShares;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;

/** Loss, gradients and training traces of the tuning methods against those of the original implementations. */
class TuningMethodsTest {
    private static final List<String> METHODS =
            List.of("lora-qkv", "lora-all", "qlora-all", "ptuning-embedding", "ptuning-projection", "freeze");

    static Stream<Arguments> fixtures() {
        return Stream.of("tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3").flatMap(model -> methods(model)
                .flatMap(method -> Stream.of(true, false).map(r -> Arguments.of(model, method, r))));
    }

    /** There is no reference of LoRA on ChatGLM-6B, and of QLoRA on ChatGLM3 only. */
    private static Stream<String> methods(String model) {
        return METHODS.stream()
                .filter(method -> !model.equals("tiny-chatglm1") || !method.contains("lora"))
                .filter(method -> model.equals("tiny-chatglm3") || !method.equals("qlora-all"));
    }

    @Tag("any-device")
    @ParameterizedTest
    @MethodSource("fixtures")
    void lossAndGradientsEqualTheReference(String model, String method, boolean recompute) throws Exception {
        Path directory = SharedFixtures.require(model);
        try (TensorSource reference = TinyModel.open(directory.resolve(method).resolve("reference.safetensors"));
                TensorSource lengths = TinyModel.open(directory.resolve("reference.safetensors"));
                Device device = TestDevices.open();
                ZeroEngine engine = open(
                        directory, method, config(DType.F32, 3, recompute, true), device, TestDevices.alone(device))) {
            PackedBatch batch = TinyModel.batch(lengths, "", 0, 3);
            double targets = batch.targets().length;
            float loss = reference.readAll("loss")[0];
            float norm = reference.readAll("grad_norm")[0];
            float[][] gradients = TestDevices.gradients(engine, device, () -> {
                StepResult result = engine.step(new StepInput(List.of(batch), List.of(targets), 1, 0));
                assertEquals(loss, result.loss(), 1e-5);
                assertEquals(norm, result.gradNorm(), 1e-4);
            });
            Map<String, Long> compared = new HashMap<>();
            for (int u = 0; u < engine.units().size(); u++) {
                float[] flat = gradients[u];
                for (ParameterSpec p : engine.units().get(u).parameters().values()) {
                    for (ParameterSpec.Source s : p.sources()) {
                        float[] expected = Arrays.copyOfRange(
                                reference.readAll("grad/" + s.name()), (int) (s.fileRow() * p.columns()), (int)
                                        ((s.fileRow() + s.rows()) * p.columns()));
                        int at = (int) (p.offset() + s.firstRow() * p.columns());
                        TinyChatglmTest.assertRelative(s.name(), expected, flat, at, 1e-4);
                        compared.merge(s.name(), (long) expected.length, Long::sum);
                    }
                }
            }
            Map<String, Long> all = new HashMap<>();
            reference.tensors().forEach((name, tensor) -> {
                if (name.startsWith("grad/")) {
                    all.put(name.substring(5), tensor.elementCount());
                }
            });
            assertEquals(all, compared, "elements compared");
        }
    }

    static Stream<Arguments> traces() {
        return Stream.of("tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3")
                .flatMap(model -> methods(model).flatMap(method -> Stream.of(1, 2, 3, 4)
                        .flatMap(world -> Stream.of(2, 3).map(stage -> Arguments.of(model, method, world, stage)))));
    }

    @ParameterizedTest
    @MethodSource("traces")
    void fiveStepsEqualTheReferenceOnAnyNumberOfRanks(String model, String method, int world, int stage)
            throws Exception {
        Ranks.run(world, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1)) {
                fiveStepsEqualTheReference(model, method, stage, Placement.OFFLOADED_OPTIMIZER, device, group);
            }
            return null;
        });
    }

    static Stream<Arguments> tracesOnGpus() {
        List<Placement> placements =
                List.of(Placement.OFFLOADED_OPTIMIZER, new Placement(true, true), new Placement(false, false));
        AtomicInteger next = new AtomicInteger();
        return Stream.of("tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3")
                .flatMap(model -> methods(model).map(method -> {
                    int n = next.getAndIncrement();
                    Placement placement = placements.get(n % 3);
                    int stage = placement.parametersOnHost() ? 3 : 2 + n / 3 % 2;
                    return Arguments.of(model, method, List.of(1, 2, 4, 2, 4).get(n % 5), stage, placement);
                }));
    }

    /** Over the simulated driver and simulated NCCL; a GPU takes part in profile gpu only. */
    @Timeout(300)
    @ParameterizedTest
    @MethodSource("tracesOnGpus")
    void fiveStepsOnGpusEqualTheReference(String model, String method, int world, int stage, Placement placement)
            throws Exception {
        CudaRanks.run(world, 11, 30, (device, group) -> {
            fiveStepsEqualTheReference(model, method, stage, placement, device, group);
            return null;
        });
    }

    static void fiveStepsEqualTheReference(
            String model, String method, int stage, Placement placement, Device device, Collectives group)
            throws IOException {
        // Steps have four micro-batches.
        EngineConfig config = config(DType.F32, stage, stage == 3, placement, group.size() == 4);
        fiveStepsEqualTheReference(model, method, config, 1, device, group);
    }

    /** Within a ten-thousandth of its losses and a thousandth of its norms, times the factor. */
    private static void fiveStepsEqualTheReference(
            String model, String method, EngineConfig config, double factor, Device device, Collectives group)
            throws IOException {
        Path directory = SharedFixtures.require(model);
        try (TensorSource reference = TinyModel.open(directory.resolve(method).resolve("reference.safetensors"));
                TensorSource train = TinyModel.open(directory.resolve("train.safetensors"));
                ZeroEngine engine = open(directory, method, config, device, group)) {
            float[] losses = reference.readAll("trace/loss");
            float[] norms = reference.readAll("trace/grad_norm");
            for (int step = 1; step <= losses.length; step++) {
                StepResult result = step(engine, TinyModel.microBatches(train, 1, 4), TinyModel.rate(step));
                float loss = losses[step - 1], norm = norms[step - 1];
                assertEquals(loss, result.loss(), factor * 1e-4 * loss, "loss of step " + step);
                assertEquals(norm, result.gradNorm(), factor * 1e-3 * norm, "norm of step " + step);
            }
        }
    }

    /** The maps are computed in the training dtype, like the model; the reference is fp32. */
    @Timeout(300)
    @ParameterizedTest
    @CsvSource({"tiny-chatglm1,BF16,1", "tiny-chatglm2,BF16,2", "tiny-chatglm3,BF16,4", "tiny-chatglm1,F16,4"})
    void aProjectedPrefixIsNearTheReferenceIn16Bits(String model, DType dtype, int world) throws Exception {
        EngineConfig config = config(dtype, 3, true, world == 4);
        if (dtype == DType.BF16) { // fp16 takes the simulation long
            CudaRanks.run(world, 13, 30, (device, group) -> {
                fiveStepsEqualTheReference(model, "ptuning-projection", config, 50, device, group);
                return null;
            });
        }
        Ranks.run(world, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1)) {
                fiveStepsEqualTheReference(model, "ptuning-projection", config, 50, device, group);
            }
            return null;
        });
    }

    @ParameterizedTest
    @MethodSource("traces")
    void frozenUnitsCostNoGradientsAndNoState(String model, String method, int world, int stage) throws Exception {
        Path directory = SharedFixtures.require(model);
        Ranks.run(world, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = open(directory, method, stage, true, device, group)) {
                long trained =
                        engine.units().stream().mapToLong(UnitSpec::elements).sum();
                long all = engine.model().units().stream()
                        .mapToLong(UnitSpec::elements)
                        .sum();
                assertTrue(trained < all / 2, trained + " of " + all);
                long owned = 0;
                for (int u = 0; u < engine.units().size(); u++) {
                    owned += engine.plan().sliceElements(u);
                }
                assertEquals(12 * owned, device.statistics().currentByPurpose().get(Purpose.OPTIMIZER));
            }
            return null;
        });
    }

    static StepResult step(ZeroEngine engine, List<PackedBatch> all, double rate) {
        double targets = all.stream().mapToInt(b -> b.targets().length).sum();
        StepShares share =
                new StepShares(all.size(), engine.group().size(), engine.group().rank());
        List<PackedBatch> own = new ArrayList<>();
        List<Double> divisors = new ArrayList<>();
        for (int m : share.own()) {
            own.add(all.get(m));
            divisors.add(targets);
        }
        return engine.step(new StepInput(own, divisors, share.rounds(), rate));
    }

    private static ZeroEngine open(
            Path directory, String method, int stage, boolean recompute, Device device, Collectives group)
            throws IOException {
        return open(directory, method, config(DType.F32, stage, recompute, false), device, group);
    }

    private static EngineConfig config(DType dtype, int stage, boolean recompute, boolean singleRound) {
        return config(dtype, stage, recompute, Placement.OFFLOADED_OPTIMIZER, singleRound);
    }

    private static EngineConfig config(
            DType dtype, int stage, boolean recompute, Placement placement, boolean singleRound) {
        SpikeConfig spike = new SpikeConfig(SpikeConfig.Action.IGNORE, 100);
        return new EngineConfig(dtype, stage, recompute, TinyModel.ADAMW, 1.0, 128, spike, placement, singleRound);
    }

    private static ZeroEngine open(Path directory, String method, EngineConfig config, Device device, Collectives group)
            throws IOException {
        Path base = directory.resolve("safetensors-fp32");
        ZeroEngine engine =
                new ZeroEngine(Tuning.of(ModelConfigReader.read(base), method(method)), config, device, group);
        Optional<Path> adapter = method.equals("freeze")
                ? Optional.empty()
                : Optional.of(directory.resolve(method.equals("qlora-all") ? "lora-all" : method));
        StartWeights.fillAll(new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, adapter), 1, engine);
        engine.publishMaster();
        return engine;
    }

    private static TuningMethod method(String fixture) {
        return switch (fixture) {
            case "lora-qkv" -> new TuningMethod.Lora(8, 32, 0, List.of("query_key_value"));
            case "lora-all" -> new TuningMethod.Lora(8, 32, 0, List.of("all"));
            case "qlora-all" -> new TuningMethod.Lora(8, 32, 0, List.of("all"), TuningMethod.Quantization.NF4_DOUBLE);
            case "ptuning-embedding" -> new TuningMethod.PTuningV2(8, false);
            case "ptuning-projection" -> new TuningMethod.PTuningV2(8, true);
            default -> new TuningMethod.Freeze(List.of("layers.2."), 0);
        };
    }
}
