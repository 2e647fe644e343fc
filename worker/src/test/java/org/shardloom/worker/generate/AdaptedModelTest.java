package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.MergedSource;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.TinyModel;

/** Models with adapters and prefixes, loaded from directories, against the logits of peft and of the original code. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class AdaptedModelTest {
    private final Path fixtures = SharedFixtures.require("tiny-chatglm3");
    private final Path base = fixtures.resolve("safetensors-fp32");

    @TempDir
    Path directory;

    /** As a run leaves it: the fixtures' prefixes have no configuration file of ours. */
    private Path adapter(String name) throws Exception {
        if (name.endsWith(".bin")) {
            Path low = fixtures.resolve(name.substring(0, name.length() - ".bin".length()));
            for (String file : List.of("adapter_config.json", "adapter_model.bin")) {
                Files.copy(low.resolve(file), directory.resolve(file));
            }
            return directory;
        }
        Path source = fixtures.resolve(name);
        if (name.startsWith("lora")) {
            return source;
        }
        if (name.startsWith("qlora")) {
            Path low = fixtures.resolve("lora-all");
            TuningMethod.Lora method =
                    (TuningMethod.Lora) AdapterFiles.read(low).method();
            try (TensorSource trained = WeightsDirectory.openAdapter(low)) {
                AdapterFiles.write(directory, method.over(TuningMethod.Quantization.NF4_DOUBLE), base, trained);
            }
            return directory;
        }
        try (TensorSource trained = WeightsDirectory.openAdapter(source)) {
            AdapterFiles.write(directory, new TuningMethod.PTuningV2(8, name.endsWith("projection")), base, trained);
        }
        return directory;
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"lora-qkv", "lora-all", "lora-all.bin", "qlora-all", "ptuning-embedding", "ptuning-projection"})
    void logitsEqualTheReferenceWithACacheAndWithout(String name) throws Exception {
        try (TensorSource reference = TinyModel.open(
                        fixtures.resolve(name.replace(".bin", "")).resolve("reference.safetensors"));
                TensorSource lengths = TinyModel.open(fixtures.resolve("reference.safetensors"));
                ModelSource source = ModelSource.of(adapter(name), base);
                LoadedModel model = LoadedModel.open(source, 1, 64)) {
            List<int[]> sequences = TinyModel.sequences(lengths, "", 0, 3);
            float[] expected = reference.readAll("logits");
            int width = reference.info("logits").shape().get(1).intValue();
            int vocabulary = model.config().vocabulary();
            float[][] found = model.allLogits(sequences);
            int at = 0;
            for (int s = 0; s < 3; s++) {
                for (int t = 0; t < sequences.get(s).length; t++, at++) {
                    int from = (s * width + t) * vocabulary;
                    for (int v = 0; v < vocabulary; v++) {
                        assertEquals(expected[from + v], found[at][v], 1e-4, "sequence " + s + ", token " + t);
                    }
                }
            }
            try (KeyValueCache cache = model.newCache(3, 64)) {
                int[] slots = {0, 1, 2};
                List<int[]> heads =
                        sequences.stream().map(s -> Arrays.copyOf(s, 3)).toList();
                List<int[]> tails = sequences.stream()
                        .map(s -> Arrays.copyOfRange(s, 3, s.length))
                        .toList();
                model.extend(cache, slots, heads);
                float[][] last = model.extend(cache, slots, tails);
                at = -1;
                for (int s = 0; s < 3; s++) {
                    at += sequences.get(s).length;
                    assertArrayEquals(found[at], last[s], 1e-4f, "with a cache, sequence " + s);
                }
            }
            assertTrue(model.effect() > 0.01, "the adapter acts");
        }
    }

    @Test
    void aModelWithoutAdaptersHasNoEffect() throws Exception {
        try (LoadedModel model = LoadedModel.open(base, 1, 64)) {
            assertEquals(0, model.effect());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora-qkv", "lora-all"})
    void mergedWeightsAndLogitsEqualThoseOfPeft(String name) throws Exception {
        Path adapter = fixtures.resolve(name);
        TuningMethod.Lora lora = (TuningMethod.Lora) AdapterFiles.read(adapter).method();
        Path target = directory.resolve("merged");
        try (TensorSource merged =
                new MergedSource(WeightsDirectory.open(base), WeightsDirectory.openAdapter(adapter), lora.scale())) {
            HuggingFaceExport.write(
                    merged,
                    DecoderUnits.of(ModelConfigReader.read(base)),
                    base,
                    base,
                    Optional.empty(),
                    target,
                    WeightDtype.F32,
                    1 << 30);
        }
        try (TensorSource expected = TinyModel.open(adapter.resolve("merged.safetensors"));
                TensorSource found = WeightsDirectory.open(target)) {
            for (String tensor : expected.tensors().keySet()) {
                assertArrayEquals(expected.readAll(tensor), found.readAll(tensor), 1e-6f, tensor);
            }
        }
        try (TensorSource reference = TinyModel.open(adapter.resolve("reference.safetensors"));
                TensorSource lengths = TinyModel.open(fixtures.resolve("reference.safetensors"));
                LoadedModel model = LoadedModel.open(target, 1, 64)) {
            int[] sequence = TinyModel.sequences(lengths, "", 0, 1).get(0);
            float[] expected = reference.readAll("merged/logits");
            float[][] found = model.allLogits(List.of(sequence));
            for (int t = 0; t < sequence.length; t++) {
                for (int v = 0; v < found[t].length; v++) {
                    assertEquals(expected[t * found[t].length + v], found[t][v], 1e-4, "token " + t);
                }
            }
        }
    }

    @Test
    void whatIsWrittenIsReadBack() throws Exception {
        Path source = fixtures.resolve("lora-all");
        TuningMethod method = AdapterFiles.read(source).method();
        try (TensorSource trained = WeightsDirectory.openAdapter(source)) {
            AdapterFiles.write(directory, method, base, trained);
            AdapterFiles.Description read = AdapterFiles.read(directory);
            assertEquals(base, read.base());
            TuningMethod.Lora lora = (TuningMethod.Lora) read.method();
            assertEquals(8, lora.rank());
            assertEquals(4.0, lora.scale());
            try (TensorSource again = WeightsDirectory.openAdapter(directory)) {
                assertEquals(trained.tensors(), again.tensors());
                for (String name : trained.tensors().keySet()) {
                    assertArrayEquals(trained.readAll(name), again.readAll(name), name);
                }
            }
        }
    }

    @Test
    void aJobThatStartsFromAnAdapterMustHaveItsRankAndScale() throws Exception {
        Path adapter = fixtures.resolve("lora-qkv");
        AdapterFiles.requireLike(adapter, new TuningMethod.Lora(8, 32, 0.1, List.of("all")));
        for (TuningMethod other : List.of(
                new TuningMethod.Lora(8, 16, 0, List.of("query_key_value")),
                new TuningMethod.Lora(4, 32, 0, List.of("query_key_value")),
                new TuningMethod.PTuningV2(8, false))) {
            String message = assertThrows(TuningException.class, () -> AdapterFiles.requireLike(adapter, other))
                    .getMessage();
            assertTrue(message.contains("was trained with"), message);
        }
        assertThrows(TuningException.class, () -> AdapterFiles.requireLike(base, new TuningMethod.PTuningV2(8, false)));
    }

    @Test
    void aWholeModelHasNoBase() {
        assertThrows(IllegalArgumentException.class, () -> ModelSource.of(base, base));
    }

    @Test
    void anAdapterWithoutItsBaseOrOfAnUnknownKindIsRefused() throws Exception {
        Path adapter = fixtures.resolve("lora-qkv");
        String message = assertThrows(TuningException.class, () -> ModelSource.of(adapter, null))
                .getMessage();
        assertTrue(message.contains("--base"), message);
        String config = Files.readString(adapter.resolve("adapter_config.json"));
        Files.writeString(
                directory.resolve("adapter_config.json"), config.replace("\"use_dora\": false", "\"use_dora\": true"));
        message = assertThrows(TuningException.class, () -> ModelSource.of(directory, base))
                .getMessage();
        assertTrue(message.contains("use_dora"), message);
        for (String[] change : new String[][] {
            {"\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "pissa"},
            {"\"layers_to_transform\": null", "\"layers_to_transform\": [1]", "layers_to_transform"},
            {"\"target_modules\": [", "\"target_modules\": \".*query.*\", \"others\": [", "the pattern '.*query.*'"}
        }) {
            assertTrue(config.contains(change[0]), change[0]);
            Files.writeString(directory.resolve("adapter_config.json"), config.replace(change[0], change[1]));
            message = assertThrows(TuningException.class, () -> AdapterFiles.read(directory))
                    .getMessage();
            assertTrue(message.contains(change[2]) && message.lines().count() == 1, message);
        }
        Files.writeString(
                directory.resolve("adapter_config.json"),
                config.replace("\"query_key_value\"", "\"self_attention.query_key_value\""));
        assertEquals(
                AdapterFiles.read(adapter).method(),
                AdapterFiles.read(directory).method());
    }

    @Test
    void anAdapterForAnotherModelIsRefusedInOneLine() {
        Path other = SharedFixtures.require("stories260k");
        Path another = SharedFixtures.require("tiny-chatglm1").resolve("safetensors-fp32");
        for (Path wrong : List.of(other, another)) {
            String message = assertThrows(
                            TuningException.class, () -> ModelSource.of(fixtures.resolve("lora-all"), wrong))
                    .getMessage();
            assertEquals(1, message.lines().count(), message);
        }
    }

    @Test
    void theProbeOfAMergedModelSaysWhatWholeModelsSay() throws Exception {
        Path adapter = fixtures.resolve("lora-all");
        TuningMethod.Lora lora = (TuningMethod.Lora) AdapterFiles.read(adapter).method();
        DecoderConfig config = ModelConfigReader.read(base);
        try (TensorSource factors = WeightsDirectory.openAdapter(adapter);
                TensorSource below = WeightsDirectory.open(base);
                ModelSource source = ModelSource.of(adapter, base);
                LoadedModel model = LoadedModel.open(source, 1, 64)) {
            MergeProbe probe = MergeProbe.of(config, lora, below, factors, 1);
            assertEquals(model.effect(), probe.effect(), 1e-4f * model.effect());
            MergeProbe.Merged same = probe.compare(below, WeightDtype.F32);
            assertEquals(0, same.effect());
            assertEquals(probe.effect(), same.deviation());
        }
    }

    @ParameterizedTest
    @EnumSource(TuningMethod.Quantization.class)
    void theProbeFindsWhatIsNotBaseAndAdapterTogether(TuningMethod.Quantization quantization) throws Exception {
        Path adapter = fixtures.resolve("lora-all");
        TuningMethod.Lora lora = ((TuningMethod.Lora) AdapterFiles.read(adapter).method()).over(quantization);
        DecoderConfig config = ModelConfigReader.read(base);
        try (TensorSource factors = WeightsDirectory.openAdapter(adapter);
                TensorSource below = ModelSource.asTrainedOn(WeightsDirectory.open(base), config, lora)) {
            MergeProbe probe = MergeProbe.of(config, lora, below, factors, 1);
            for (WeightDtype dtype : List.of(WeightDtype.F32, WeightDtype.BF16, WeightDtype.F16)) {
                for (double scale : new double[] {lora.scale(), lora.scale() / 4, 2 * lora.scale()}) {
                    Path target = directory.resolve(dtype + "-" + scale);
                    HuggingFaceExport.write(
                            new MergedSource(below, factors, scale),
                            DecoderUnits.of(config),
                            base,
                            base,
                            Optional.empty(),
                            target,
                            dtype,
                            1 << 30);
                    try (TensorSource merged = WeightsDirectory.open(target)) {
                        MergeProbe.Merged found = probe.compare(merged, dtype);
                        assertEquals(
                                scale == lora.scale(), found.deviation() <= found.allowed(), target + ": " + found);
                    }
                }
            }
        }
    }

    @Test
    void whatWasTrainedKnowsItsConversationFormat() throws Exception {
        try (TensorSource trained = WeightsDirectory.openAdapter(fixtures.resolve("lora-all"))) {
            AdapterFiles.write(
                    directory, AdapterFiles.read(fixtures.resolve("lora-all")).method(), base, trained);
        }
        try (ModelSource source = ModelSource.of(directory, null)) {
            assertEquals(Optional.empty(), source.trainedAs());
            assertEquals(base, source.tokenizer());
        }
        Path words = Files.createDirectories(directory.resolve("words"));
        Files.writeString(
                directory.resolve("shardloom.json"), "{\"template\": \"plain\", \"tokenizer\": \"" + words + "\"}");
        try (ModelSource source = ModelSource.of(directory, null)) {
            assertEquals(
                    DataConfig.Template.PLAIN, source.trainedAs().orElseThrow().template());
            assertEquals(words, source.tokenizer());
        }
        Files.writeString(directory.resolve("shardloom.json"), "{\"template\": \"latin\"}");
        assertTrue(assertThrows(java.io.IOException.class, () -> ModelSource.of(directory, null))
                .getMessage()
                .contains("shardloom.json"));
    }

    /** A source whose tokens see each other and the prefix, with a cache as without. */
    @ParameterizedTest
    @ValueSource(strings = {"ptuning-embedding", "ptuning-projection"})
    void chatglm6bsCacheHasThePrefixInItsContext(String name) throws Exception {
        Path first = SharedFixtures.require("tiny-chatglm1");
        Path model = first.resolve("safetensors-fp32");
        try (TensorSource trained = WeightsDirectory.openAdapter(first.resolve(name))) {
            AdapterFiles.write(directory, new TuningMethod.PTuningV2(8, name.endsWith("projection")), model, trained);
        }
        try (TensorSource lengths = TinyModel.open(first.resolve("reference.safetensors"));
                ModelSource source = ModelSource.of(directory, model);
                LoadedModel loaded = LoadedModel.open(source, 1, 64);
                KeyValueCache cache = loaded.newCache(3, 64)) {
            List<int[]> sequences = TinyModel.sequences(lengths, "", 0, 3);
            float[][] all = loaded.allLogits(sequences);
            float[][] last = loaded.extend(cache, new int[] {0, 1, 2}, sequences);
            int at = -1;
            for (int s = 0; s < 3; s++) {
                at += sequences.get(s).length;
                assertArrayEquals(all[at], last[s], 1e-4f, "sequence " + s);
            }
        }
    }

    /** Prompts that are read in pieces, beside others that are being continued. */
    @Test
    void virtualTokensOfNewSequencesDoNotMoveThoseUnderWay() throws Exception {
        int width = ModelConfigReader.read(base).hidden();
        float[] table = new float[5 * width];
        java.util.Random random = new java.util.Random(3);
        for (int i = 0; i < table.length; i++) {
            table[i] = (float) random.nextGaussian();
        }
        ArraySource trained = new ArraySource("prompt_embeddings", table, 5, width);
        AdapterFiles.write(directory, new TuningMethod.PTuning(5), base, trained);
        List<int[]> prompts = new java.util.ArrayList<>();
        for (int i = 0; i < 9; i++) {
            prompts.add(random.ints(3 + 4 * i, 0, 500).toArray());
        }
        try (ModelSource source = ModelSource.of(directory, base);
                LoadedModel model = LoadedModel.open(source, 1, 64)) {
            int vocabulary = model.config().vocabulary();
            Generator.Limits narrow = new Generator.Limits(4, 10, 1 << 30);
            List<Continuation> together = new Generator(
                            model, vocabulary, java.util.Set.of(), SamplingOptions.GREEDY, narrow)
                    .generate(prompts, 12);
            Generator alone = new Generator(model, vocabulary, java.util.Set.of(), SamplingOptions.GREEDY);
            for (int i = 0; i < prompts.size(); i++) {
                assertArrayEquals(
                        alone.generate(List.of(prompts.get(i)), 12).get(0).tokens(),
                        together.get(i).tokens(),
                        "prompt " + i);
            }
        }
    }
}
