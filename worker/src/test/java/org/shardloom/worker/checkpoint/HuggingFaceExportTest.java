package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.Floats;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.TinyTrainer;

/** A trained checkpoint as a Hugging Face directory. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class HuggingFaceExportTest {
    @TempDir
    Path root;

    private Path checkpoint;
    private float[][][] state;
    private List<UnitSpec> units;

    @BeforeEach
    void train() throws Exception {
        checkpoint = Files.createDirectory(root.resolve("checkpoint-2"));
        ShardPlan[] plan = new ShardPlan[1];
        ShardFiles.Written[] written = new ShardFiles.Written[3];
        state = TinyTrainer.whole(Ranks.run(3, (rank, group) -> {
            try (TinyTrainer trainer = TinyTrainer.open(group)) {
                trainer.accumulated(1);
                trainer.accumulated(2);
                written[rank] = ShardFiles.write(checkpoint, trainer.engine.plan(), rank, trainer.engine.optimizer());
                if (rank == 0) {
                    plan[0] = trainer.engine.plan();
                    units = trainer.engine.units();
                }
                return trainer.state();
            }
        }));
        String config = Files.readString(SharedFixtures.tinyChatglm3().resolve("config.json"));
        Saved.manifest(
                checkpoint, plan[0], new TrainingState(2, 2, 0, 0, GuardState.START), config, Arrays.asList(written));
    }

    private void export(Path model, Path tokenizer, Path target, WeightDtype dtype, long maxShardBytes)
            throws Exception {
        try (Checkpoint opened = Checkpoint.open(checkpoint, true)) {
            HuggingFaceExport.write(
                    new CheckpointTensors(opened, units),
                    units,
                    model,
                    tokenizer,
                    Optional.empty(),
                    target,
                    dtype,
                    maxShardBytes);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = WeightDtype.class,
            names = {"F32", "BF16", "F16"})
    void itHoldsTheMasterWeightsRoundedToTheDtypeUnderTheirOriginalNames(WeightDtype dtype) throws Exception {
        Path target = root.resolve("final");
        Path model = SharedFixtures.tinyChatglm3();
        for (long maxShardBytes : new long[] {1L << 30, 100_000}) {
            export(model, model, target, dtype, maxShardBytes);
            assertEquals(
                    maxShardBytes > 1_000_000,
                    Files.exists(target.resolve("model.safetensors")),
                    "one file where it fits, else several");
            assertEquals(maxShardBytes < 1_000_000, Files.exists(target.resolve("model.safetensors.index.json")));
            try (TensorSource found = WeightsDirectory.open(target);
                    TensorSource original = WeightsDirectory.open(model)) {
                TreeSet<String> names = new TreeSet<>(original.tensors().keySet());
                names.removeIf(name -> name.endsWith("inv_freq"));
                assertEquals(names, new TreeSet<>(found.tensors().keySet()));
                MasterWeights.check(units, found, "export");
                for (int u = 0; u < units.size(); u++) {
                    for (ParameterSpec p : units.get(u).parameters().values()) {
                        String name = p.sources().get(0).name();
                        float[] expected =
                                Arrays.copyOfRange(state[u][0], (int) p.offset(), (int) (p.offset() + p.elements()));
                        for (int i = 0; i < expected.length; i++) {
                            expected[i] = round(expected[i], dtype);
                        }
                        assertEquals(dtype, found.info(name).dtype());
                        assertArrayEquals(expected, found.readAll(name), name);
                    }
                }
            }
        }
        assertFalse(Files.exists(root.resolve("final.writing")));
    }

    private static float round(float value, WeightDtype dtype) {
        return switch (dtype) {
            case F16 -> Floats.halfToFloat(Floats.floatToHalf(value));
            case BF16 -> Floats.bf16ToFloat(Floats.floatToBf16(value));
            default -> value;
        };
    }

    @Test
    void aModelFromTheCheckpointEqualsTheOneFromItsExport() throws Exception {
        Path target = root.resolve("final");
        export(SharedFixtures.tinyChatglm3(), SharedFixtures.tinyChatglm3(), target, WeightDtype.F32, 200_000);
        List<int[]> prompts = List.of(new int[] {503, 505, 508, 20, 30}, new int[] {7, 9});
        try (LoadedModel saved = LoadedModel.open(checkpoint, 1, 16);
                LoadedModel exported = LoadedModel.open(target, 1, 16)) {
            float[][] expected = saved.allLogits(prompts);
            float[][] found = exported.allLogits(prompts);
            for (int i = 0; i < expected.length; i++) {
                assertArrayEquals(expected[i], found[i]);
            }
        }
    }

    @Test
    void theConfigurationIsTheModelsAndTheTokenizersFilesComeFromItsDirectory() throws Exception {
        Path model = Files.createDirectory(root.resolve("model"));
        Files.copy(SharedFixtures.tinyChatglm3().resolve("config.json"), model.resolve("config.json"));
        Files.writeString(model.resolve("tokenizer.model"), "the model's");
        Files.writeString(model.resolve("tokenizer_config.json"), "the model's");
        Files.writeString(model.resolve("modeling_tiny.py"), "pass");
        Path tokenizer = Files.createDirectory(root.resolve("tokenizer"));
        Files.writeString(tokenizer.resolve("config.json"), "{\"model_type\": \"some other model\"}");
        Files.writeString(tokenizer.resolve("generation_config.json"), "of another model");
        Files.writeString(tokenizer.resolve("tokenizer.model"), "the tokenizer's");
        Files.writeString(tokenizer.resolve("weights.bin"), "not to be copied");
        Path target = root.resolve("deep/final");
        export(model, tokenizer, target, WeightDtype.BF16, 1L << 30);
        assertEquals(ModelConfigReader.read(model), ModelConfigReader.read(target));
        assertFalse(Files.exists(target.resolve("generation_config.json")));
        assertEquals("the tokenizer's", Files.readString(target.resolve("tokenizer.model")));
        assertEquals("the model's", Files.readString(target.resolve("tokenizer_config.json")));
        assertTrue(Files.exists(target.resolve("modeling_tiny.py")));
        assertFalse(Files.exists(target.resolve("weights.bin")));
    }

    @ParameterizedTest
    @CsvSource({"F32,float32", "F16,float16", "BF16,bfloat16"})
    void theConfigurationNamesTheDtypeThatWasWrittenAndIsOtherwiseTheModels(WeightDtype dtype, String name)
            throws Exception {
        Path original = SharedFixtures.tinyChatglm3();
        ObjectMapper mapper = new ObjectMapper();
        for (List<String> keys : List.of(List.of("torch_dtype"), List.of("dtype"), List.<String>of())) {
            Path model = Files.createTempDirectory(root, "model");
            ObjectNode given =
                    (ObjectNode) mapper.readTree(original.resolve("config.json").toFile());
            given.remove(List.of("torch_dtype", "dtype"));
            given.put("a_first_rate", 1e-05).put("a_large_number", 12345678901234567L);
            keys.forEach(key -> given.put(key, "float64"));
            given.putArray("last").add("语言").add(true).addNull();
            Files.writeString(model.resolve("config.json"), given.toString());
            Path target = root.resolve("final");
            export(model, model, target, dtype, 1L << 30);
            String written = Files.readString(target.resolve("config.json"));
            given.put(keys.isEmpty() ? "torch_dtype" : keys.get(0), name);
            assertEquals(given.toString(), mapper.readTree(written).toString(), "with " + keys);
            assertEquals(ModelConfigReader.read(model), ModelConfigReader.read(target));
        }
    }

    @Test
    void anExportReplacesAnEarlierOneWhole() throws Exception {
        Path target = Files.createDirectory(root.resolve("final"));
        Files.writeString(target.resolve("left-over.safetensors"), "old");
        Path half = Files.createDirectory(root.resolve("final.writing"));
        Files.writeString(half.resolve("half.safetensors"), "of a run that was killed");
        export(SharedFixtures.tinyChatglm3(), SharedFixtures.tinyChatglm3(), target, WeightDtype.F16, 1L << 30);
        List<String> names = new ArrayList<>();
        try (var files = Files.list(target)) {
            files.forEach(f -> names.add(f.getFileName().toString()));
        }
        assertEquals(new TreeSet<>(List.of("config.json", "model.safetensors")), new TreeSet<>(names));
    }

    @Test
    void aDiskThatIsTooSmallIsRefusedBeforeAnythingIsWrittenAndLeavesTheEarlierExport() throws Exception {
        Path model = SharedFixtures.tinyChatglm3();
        try (SmallDisk disk = SmallDisk.mount(root.resolve("disk"), "1m")) {
            Path target = Files.createDirectory(disk.path.resolve("final"));
            Files.writeString(target.resolve("earlier"), "whole");
            NoSpaceException e =
                    assertThrows(NoSpaceException.class, () -> export(model, model, target, WeightDtype.F32, 1L << 30));
            assertTrue(e.getMessage().startsWith("no space for the model in " + target), e.getMessage());
            assertEquals(List.of("final"), disk.names());
            assertEquals("whole", Files.readString(target.resolve("earlier")));
        }
    }

    /** A disk without room for another file says that it has no space left, however much is free. */
    @Test
    void whatWasGivenToADiskThatFillsUpMeanwhileIsTakenBack() throws Exception {
        Path model = Files.createDirectory(root.resolve("model"));
        Files.copy(SharedFixtures.tinyChatglm3().resolve("config.json"), model.resolve("config.json"));
        Files.writeString(model.resolve("modeling_tiny.py"), "pass");
        for (int inodes = 2; inodes <= 4; inodes++) {
            try (SmallDisk disk = SmallDisk.mount(root.resolve("disk-" + inodes), "16m,nr_inodes=" + inodes)) {
                Path target = disk.path.resolve("final");
                NoSpaceException e = assertThrows(
                        NoSpaceException.class, () -> export(model, model, target, WeightDtype.BF16, 1L << 30));
                assertTrue(e.getMessage().toLowerCase(Locale.ROOT).contains("no space left"), e.getMessage());
                assertEquals(List.of(), disk.names());
            }
        }
    }
}
