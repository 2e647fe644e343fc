package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.Precision;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.TestDevices;
import org.shardloom.worker.zero.TinyModel;

/** Models in every dtype, with a base in NF4 and without, on the processors and on a GPU. */
@Tag("any-device")
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class LoadedModelTest {
    private final Path fixture = SharedFixtures.require("tiny-chatglm3");
    private final Path base = fixture.resolve("safetensors-fp32");

    @TempDir
    Path directory;

    /** The prompts of the reference's greedy continuations. */
    private static List<int[]> prompts(Path fixture) throws Exception {
        List<int[]> prompts = new ArrayList<>();
        for (JsonNode node : SharedFixtures.json(fixture.resolve("generation.json"))) {
            prompts.add(SharedFixtures.ints(node.path("prompt")));
        }
        return prompts;
    }

    private static float[][] logits(Path model, DType dtype, List<int[]> sequences) throws Exception {
        try (Device device = TestDevices.open();
                ModelSource source = ModelSource.of(model, null);
                LoadedModel loaded = LoadedModel.open(source, device, dtype, 80)) {
            return loaded.allLogits(sequences);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm3", "tiny-chatglm2", "tiny-chatglm1"})
    void fp32ContinuesAsTheReferenceOnEveryDevice(String name) throws Exception {
        Path root = SharedFixtures.require(name);
        try (Device device = TestDevices.open();
                ModelSource source = ModelSource.of(root.resolve("safetensors-fp32"), null);
                LoadedModel model = LoadedModel.open(source, device, DType.F32, 128)) {
            List<Continuation> found = Greedy.of(model).generate(prompts(root), 32);
            int i = 0;
            for (JsonNode node : SharedFixtures.json(root.resolve("generation.json"))) {
                assertArrayEquals(
                        SharedFixtures.ints(node.path("generated")),
                        found.get(i++).tokens());
            }
        }
        TestDevices.assertNoFaults();
    }

    /** Distance of logits from those of fp32, by their root mean squares. */
    private static double distance(float[][] expected, float[][] found) {
        double squares = 0;
        double difference = 0;
        for (int t = 0; t < expected.length; t++) {
            for (int v = 0; v < expected[t].length; v++) {
                squares += expected[t][v] * expected[t][v];
                difference += Math.pow(expected[t][v] - found[t][v], 2);
            }
        }
        return Math.sqrt(difference / squares);
    }

    /** Three layers of random weights: each rounds a few times to 8 bits, or to 11. */
    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm3, BF16, 0.002, 0.02",
        "tiny-chatglm3, F16, 0.0002, 0.0025",
        "tiny-chatglm1, BF16, 0.002, 0.03",
        "tiny-chatglm1, F16, 0.0002, 0.004"
    })
    void sixteenBitsAreNearFp32WithACacheToo(String name, DType dtype, double least, double most) throws Exception {
        Path root = SharedFixtures.require(name);
        Path files = root.resolve("safetensors-fp32");
        List<int[]> sequences = prompts(root).subList(0, 2);
        float[][] expected = logits(files, DType.F32, sequences);
        int[] sequence = sequences.get(0);
        int[] longer = Arrays.copyOf(sequence, sequence.length + 1);
        longer[sequence.length] = 5;
        float[][] all = logits(files, DType.F32, List.of(longer));
        double distance = distance(expected, logits(files, dtype, sequences));
        assertTrue(distance > least && distance < most, "distance " + distance);
        try (Device device = TestDevices.open();
                ModelSource source = ModelSource.of(files, null);
                LoadedModel model = LoadedModel.open(source, device, dtype, 80);
                KeyValueCache cache = model.newCache(1, 80)) {
            float[][] last = model.extend(cache, new int[1], List.of(sequence));
            distance = distance(new float[][] {expected[sequence.length - 1]}, last);
            assertTrue(distance < 2 * most, "with a cache, distance " + distance);
            last = model.extend(cache, new int[1], List.of(new int[] {5}));
            distance = distance(new float[][] {all[sequence.length]}, last);
            assertTrue(distance < 2 * most, "with a cache and a token more, distance " + distance);
        }
        TestDevices.assertNoFaults();
    }

    private Path qlora(Quantization quantization) throws Exception {
        Path low = fixture.resolve("lora-all");
        TuningMethod.Lora method = (TuningMethod.Lora) AdapterFiles.read(low).method();
        try (TensorSource trained = WeightsDirectory.openAdapter(low)) {
            AdapterFiles.write(directory, method.over(quantization), base, trained);
        }
        return directory;
    }

    @Test
    void aBaseInNf4StaysSoAndSaysWhatTheReferenceSays() throws Exception {
        Path adapter = qlora(Quantization.NF4_DOUBLE);
        TuningMethod.Lora method =
                (TuningMethod.Lora) AdapterFiles.read(adapter).method();
        TunedModel whole = Tuning.of(ModelConfigReader.read(base), method.over(Quantization.NONE));
        long full = 4 * whole.units().stream().mapToLong(UnitSpec::elements).sum();
        try (Device device = TestDevices.open();
                TensorSource lengths = TinyModel.open(fixture.resolve("reference.safetensors"));
                TensorSource reference = TinyModel.open(fixture.resolve("qlora-all/reference.safetensors"));
                ModelSource source = ModelSource.of(adapter, null);
                LoadedModel model = LoadedModel.open(source, device, DType.F32, 80)) {
            assertTrue(model.parameterBytes() < full, model.parameterBytes() + " of " + full);
            int[] sequence = TinyModel.sequences(lengths, "", 0, 1).get(0);
            float[] expected = reference.readAll("logits");
            float[][] found = model.allLogits(List.of(sequence));
            int width = found[0].length;
            for (int t = 0; t < sequence.length; t++) {
                assertArrayEquals(Arrays.copyOfRange(expected, t * width, (t + 1) * width), found[t], 1e-4f);
            }
            assertTrue(model.effect() > 0.01, "the adapter acts");
        }
        TestDevices.assertNoFaults();
    }

    @Test
    void aModelsPrecisionIsThatOfItsFiles() throws Exception {
        for (String[] files : new String[][] {{"safetensors-fp32", "FP32"}, {"bin-fp16", "FP16"}}) {
            try (ModelSource source = ModelSource.of(fixture.resolve(files[0]), null)) {
                assertEquals(Precision.valueOf(files[1]), source.precision());
            }
        }
        try (ModelSource source = ModelSource.of(fixture.resolve("lora-all"), fixture.resolve("bin-fp16"))) {
            assertEquals(Precision.FP16, source.precision(), "its base model's");
        }
    }

    /** What is found on paper is what a device counts. */
    @ParameterizedTest
    @CsvSource({"F32, NONE", "BF16, NONE", "BF16, NF4"})
    void theNeedIsFoundBeforeLoading(DType dtype, Quantization quantization) throws Exception {
        Path adapter = qlora(quantization);
        List<int[]> prompts = prompts(fixture);
        try (Device device = TestDevices.open();
                ModelSource source = ModelSource.of(adapter, null)) {
            MemoryNeed need =
                    MemoryNeed.of(source.model(), dtype, device.sharesHostMemory(), 80, paper -> Greedy.of(paper)
                            .rehearse(prompts, 24));
            try (LoadedModel model = LoadedModel.open(source, device, dtype, 80)) {
                assertEquals(model.parameterBytes(), need.parameters());
                Greedy.of(model).generate(prompts, 24);
                long seen = device instanceof CudaDevice gpu
                        ? gpu.allocator().reservedPeakBytes()
                        : device.statistics().peakBytes();
                assertTrue(seen <= 1.1 * need.bytes() && seen >= 0.9 * need.bytes(), seen + " used, " + need);
            }
        }
        TestDevices.assertNoFaults();
    }

    @Test
    void aLongerSampleNeedsMore() throws Exception {
        TunedModel model = TunedModel.full(ModelConfigReader.read(base));
        MemoryNeed before = null;
        for (int length : new int[] {8, 64}) {
            int[] ids = MergeProbe.tokens(model.config(), length);
            MemoryNeed need = MemoryNeed.of(
                    model, DType.F32, true, 80, paper -> paper.loss(PackedBatch.of(List.of(ids), List.of(ids))));
            assertTrue(before == null || need.use() > before.use(), before + ", " + need);
            before = need;
        }
    }
}
