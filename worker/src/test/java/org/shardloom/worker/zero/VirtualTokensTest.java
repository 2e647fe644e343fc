package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** P-Tuning: virtual tokens whose embeddings are those of real ones are those real ones, and their gradients, too. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class VirtualTokensTest {
    /** Tokens that the fixtures' sequences do not have. */
    private static final int[] REAL = {7, 11, 13};

    @TempDir
    Path directory;

    /** An adapter of virtual tokens with the embeddings of {@link #REAL}. */
    private Path adapter(Path base) throws Exception {
        int width = ModelConfigReader.read(base).hidden();
        float[] table = new float[REAL.length * width];
        try (TensorSource weights = WeightsDirectory.open(base)) {
            String embedding = weights.tensors().keySet().stream()
                    .filter(n -> n.endsWith("word_embeddings.weight"))
                    .findFirst()
                    .orElseThrow();
            for (int i = 0; i < REAL.length; i++) {
                weights.read(embedding, (long) REAL[i] * width, FloatBuffer.wrap(table, i * width, width));
            }
        }
        ArraySource trained = new ArraySource("prompt_embeddings", table, REAL.length, width);
        AdapterFiles.write(directory, new TuningMethod.PTuning(REAL.length), base, trained);
        assertEquals(
                new TuningMethod.PTuning(REAL.length),
                AdapterFiles.read(directory).method());
        return directory;
    }

    private static List<int[]> sequences(String model) throws Exception {
        try (TensorSource reference =
                TinyModel.open(SharedFixtures.require(model).resolve("reference.safetensors"))) {
            List<int[]> all = TinyModel.sequences(reference, "", 0, 3);
            for (int[] sequence : all) {
                assertTrue(Arrays.stream(sequence)
                        .noneMatch(id -> IntStream.of(REAL).anyMatch(r -> r == id)));
            }
            return all;
        }
    }

    private static int[] longer(int[] sequence, int fill) {
        int[] all = new int[REAL.length + sequence.length];
        for (int i = 0; i < REAL.length; i++) {
            all[i] = fill < 0 ? fill : REAL[i];
        }
        System.arraycopy(sequence, 0, all, REAL.length, sequence.length);
        return all;
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3"})
    void logitsAndGenerationAreThoseOfTheRealTokens(String name) throws Exception {
        Path base = SharedFixtures.require(name).resolve("safetensors-fp32");
        List<int[]> sequences = sequences(name);
        List<int[]> real = sequences.stream().map(s -> longer(s, 0)).toList();
        try (ModelSource source = ModelSource.of(adapter(base), null);
                LoadedModel tuned = LoadedModel.open(source, 1, 64);
                LoadedModel plain = LoadedModel.open(base, 1, 64)) {
            float[][] found = tuned.allLogits(sequences);
            float[][] all = plain.allLogits(real);
            List<float[]> expected = new ArrayList<>();
            int at = 0;
            for (int[] sequence : sequences) {
                for (int t = 0; t < sequence.length; t++) {
                    expected.add(all[at + REAL.length + t]);
                }
                at += REAL.length + sequence.length;
            }
            assertEquals(expected.size(), found.length);
            for (int t = 0; t < found.length; t++) {
                assertArrayEquals(expected.get(t), found[t], "token " + t);
            }
            assertTrue(tuned.effect() > 0.001, "the virtual tokens act");
            SamplingOptions greedy = SamplingOptions.GREEDY;
            int vocabulary = plain.config().vocabulary();
            List<int[]> prompts = name.equals("tiny-chatglm1") ? sequences.subList(0, 2) : sequences;
            List<int[]> realPrompts = prompts.stream().map(s -> longer(s, 0)).toList();
            assertEquals(
                    new Generator(plain, vocabulary, java.util.Set.of(), greedy)
                            .generate(realPrompts, 12).stream()
                                    .map(c -> Arrays.toString(c.tokens()))
                                    .toList(),
                    new Generator(tuned, vocabulary, java.util.Set.of(), greedy)
                            .generate(prompts, 12).stream()
                                    .map(c -> Arrays.toString(c.tokens()))
                                    .toList());
        }
    }

    private ZeroEngine engine(Path base, TuningMethod method, Path adapter, Collectives group, CpuDevice device)
            throws Exception {
        EngineConfig config = new EngineConfig(DType.F32, 3, true, TinyModel.ADAMW, 1.0, 128);
        ZeroEngine engine = new ZeroEngine(Tuning.of(ModelConfigReader.read(base), method), config, device, group);
        StartWeights.fillAll(
                new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.ofNullable(adapter)),
                1,
                engine);
        engine.publishMaster();
        return engine;
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm2", "tiny-chatglm3"})
    void theirGradientIsThatOfTheRealTokensEmbeddings(String name) throws Exception {
        Path base = SharedFixtures.require(name).resolve("safetensors-fp32");
        List<int[]> sequences = sequences(name);
        List<int[]> real = sequences.stream().map(s -> longer(s, 0)).toList();
        List<int[]> labels =
                sequences.stream().map(s -> longer(s, PackedBatch.IGNORED)).toList();
        for (int i = 0; i < labels.size(); i++) {
            Arrays.fill(labels.get(i), 0, REAL.length + 1, PackedBatch.IGNORED);
        }
        List<int[]> shortLabels = labels.stream()
                .map(l -> Arrays.copyOfRange(l, REAL.length, l.length))
                .toList();
        Path adapter = adapter(base);
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine tuned =
                        engine(base, new TuningMethod.PTuning(REAL.length), adapter, new LocalCollectives(), device);
                ZeroEngine full = engine(base, new TuningMethod.Full(), null, new LocalCollectives(), device)) {
            PackedBatch batch = PackedBatch.of(sequences, shortLabels);
            PackedBatch whole = PackedBatch.of(real, labels);
            double divisor = batch.targets().length;
            StepResult found = tuned.step(new StepInput(List.of(batch), List.of(divisor), 1, 0));
            StepResult expected = full.step(new StepInput(List.of(whole), List.of(divisor), 1, 0));
            assertEquals(expected.loss(), found.loss(), 1e-6);
            float[] gradient = Inputs.toFloats(device, tuned.gradientSum(0));
            float[] embedding = Inputs.toFloats(device, full.gradientSum(0));
            ParameterSpec table = full.units().get(0).parameter("weight");
            int width = (int) table.columns();
            for (int i = 0; i < REAL.length; i++) {
                int at = REAL[i] * width;
                assertArrayEquals(
                        Arrays.copyOfRange(embedding, at, at + width),
                        Arrays.copyOfRange(gradient, i * width, (i + 1) * width),
                        1e-6f);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm1", "tiny-chatglm3"})
    void anyNumberOfRanksTrainsThemAlike(String name) throws Exception {
        Path base = SharedFixtures.require(name).resolve("safetensors-fp32");
        List<List<Double>> losses = new ArrayList<>();
        for (int world : new int[] {1, 3}) {
            losses.add(Ranks.run(world, (rank, group) -> {
                        List<Double> found = new ArrayList<>();
                        try (TensorSource train = TinyModel.open(
                                        SharedFixtures.require(name).resolve("train.safetensors"));
                                CpuDevice device = new CpuDevice(1);
                                ZeroEngine engine = engine(base, new TuningMethod.PTuning(5), null, group, device)) {
                            List<PackedBatch> all = TinyModel.microBatches(train, 1, 4);
                            for (int step = 1; step <= 8; step++) {
                                found.add(TuningMethodsTest.step(engine, all, 3e-2)
                                        .loss());
                            }
                        }
                        return found;
                    })
                    .get(0));
        }
        for (int i = 0; i < 8; i++) {
            assertEquals(losses.get(0).get(i), losses.get(1).get(i), 1e-6, "step " + (i + 1));
        }
        assertTrue(losses.get(0).get(7) < losses.get(0).get(0), losses.get(0) + " does not fall");
    }
}
