package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.MergedSource;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.ZeroEngine;

/** LoRA and QLoRA on ChatGLM-6B, of which peft has no numbers: adapters at random against the model that they are merged into. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class FirstGlmAdaptersTest {
    private static final TuningMethod.Lora LORA = new TuningMethod.Lora(8, 16, 0, List.of("all"));
    private static final String PREFIX = "base_model.model.";

    @TempDir
    Path directory;

    private final Path fixture = SharedFixtures.require("tiny-chatglm1");
    private final Path base = fixture.resolve("safetensors-fp32");
    private final DecoderConfig config = ModelConfigReader.read(base);
    private Path adapter;
    private Path merged;

    @BeforeEach
    void directories() throws IOException {
        adapter = Files.createDirectories(directory.resolve("adapter"));
        merged = directory.resolve("merged");
    }

    /** Writes an adapter whose both factors are other than 0, and the model with it merged in. */
    private TuningMethod.Lora write(Quantization quantization) throws IOException {
        TuningMethod.Lora method = LORA.over(quantization);
        Random random = new Random(7);
        TensorSource drawn = null;
        for (UnitSpec unit : Tuning.of(config, method).trained()) {
            for (ParameterSpec p : unit.parameters().values()) {
                ParameterSpec.Source source = p.sources().get(0);
                float[] values = new float[(int) p.elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) (0.1 * random.nextGaussian());
                }
                TensorSource tensor = new ArraySource(source.name(), values, p.rows(), p.columns());
                drawn = drawn == null ? tensor : new OverlaidSource(drawn, tensor);
            }
        }
        AdapterFiles.write(adapter, method, base, drawn);
        try (TensorSource source =
                new MergedSource(trainedOn(method), WeightsDirectory.openAdapter(adapter), method.scale())) {
            HuggingFaceExport.write(
                    source, DecoderUnits.of(config), base, base, Optional.empty(), merged, WeightDtype.F32, 1 << 30);
        }
        return method;
    }

    private TensorSource trainedOn(TuningMethod method) throws IOException {
        return ModelSource.asTrainedOn(WeightsDirectory.open(base), config, method);
    }

    @ParameterizedTest
    @EnumSource(Quantization.class)
    void mergedWeightsAreThoseOfTheBaseAndTheScaledProduct(Quantization quantization) throws Exception {
        TuningMethod.Lora method = write(quantization);
        int changed = 0;
        try (TensorSource found = WeightsDirectory.open(merged);
                TensorSource below = trainedOn(method);
                TensorSource factors = WeightsDirectory.openAdapter(adapter)) {
            for (String name : found.tensors().keySet()) {
                float[] expected = below.readAll(name);
                String module = PREFIX + name.replaceFirst("\\.weight$", "");
                if (factors.tensors().containsKey(module + ".lora_A.weight")) {
                    changed++;
                    int columns = found.info(name).shape().get(1).intValue();
                    add(
                            expected,
                            columns,
                            factors.readAll(module + ".lora_A.weight"),
                            factors.readAll(module + ".lora_B.weight"));
                }
                assertArrayEquals(expected, found.readAll(name), 1e-6f, name);
            }
            assertEquals(factors.tensors().size(), 2 * changed, "every factor belongs to a matrix");
        }
        assertEquals(4 * config.layers(), changed);
    }

    /** Adds 16 / 8 times B [rows, 8] A [8, columns]. */
    private static void add(float[] weight, int columns, float[] a, float[] b) {
        for (int i = 0; i < weight.length; i++) {
            double sum = 0;
            for (int r = 0; r < 8; r++) {
                sum += (double) b[i / columns * 8 + r] * a[r * columns + i % columns];
            }
            weight[i] += (float) (2 * sum);
        }
    }

    @ParameterizedTest
    @EnumSource(Quantization.class)
    void theAdapterSaysWhatTheMergedModelSays(Quantization quantization) throws Exception {
        write(quantization);
        List<int[]> prompts = new ArrayList<>();
        List<int[]> untuned = new ArrayList<>();
        for (JsonNode node : SharedFixtures.json(fixture.resolve("generation.json"))) {
            prompts.add(SharedFixtures.ints(node.path("prompt")));
            untuned.add(SharedFixtures.ints(node.path("generated")));
        }
        try (ModelSource source = ModelSource.of(adapter, null);
                LoadedModel adapted = LoadedModel.open(source, 1, 80);
                LoadedModel whole = LoadedModel.open(merged, 1, 80)) {
            float[][] expected = whole.allLogits(prompts);
            float[][] found = adapted.allLogits(prompts);
            for (int t = 0; t < expected.length; t++) {
                assertArrayEquals(expected[t], found[t], 1e-4f, "token " + t);
            }
            assertTrue(adapted.effect() > 0.01, "the adapter acts");
            List<Continuation> together = Greedy.of(adapted).generate(prompts, 32);
            boolean other = false;
            for (int i = 0; i < prompts.size(); i++) {
                int[] tokens = together.get(i).tokens();
                List<int[]> alone = List.of(prompts.get(i));
                assertArrayEquals(Greedy.of(whole).generate(alone, 32).get(0).tokens(), tokens, "prompt " + i);
                other |= !Arrays.equals(untuned.get(i), tokens);
            }
            assertTrue(other, "the adapter's texts are other than the base model's");
        }
    }

    @ParameterizedTest
    @EnumSource(Quantization.class)
    void theLossInTrainingIsThatOfTheMergedModel(Quantization quantization) throws Exception {
        TuningMethod.Lora method = write(quantization);
        double adapted = loss(base, method, Optional.of(adapter));
        assertEquals(loss(merged, new TuningMethod.Full(), Optional.empty()), adapted, 1e-5 * adapted);
        double untuned = loss(base, new TuningMethod.Full(), Optional.empty());
        assertTrue(Math.abs(untuned - adapted) > 1e-3 * adapted, untuned + " without the adapter, " + adapted);
    }

    private double loss(Path model, TuningMethod method, Optional<Path> start) throws IOException {
        EngineConfig settings = new EngineConfig(DType.F32, 3, false, TinyModel.ADAMW, 1.0, 128);
        try (TensorSource reference = TinyModel.open(fixture.resolve("reference.safetensors"));
                CpuDevice device = new CpuDevice(1);
                ZeroEngine engine =
                        new ZeroEngine(Tuning.of(config, method), settings, device, new LocalCollectives())) {
            StartWeights.fillAll(new ModelConfigSource(model, ModelConfigSource.Init.PRETRAINED, start), 1, engine);
            engine.publishMaster();
            return engine.evaluate(TinyModel.batch(reference, "", 0, 3));
        }
    }
}
