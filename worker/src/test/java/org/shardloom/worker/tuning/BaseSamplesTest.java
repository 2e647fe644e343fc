package org.shardloom.worker.tuning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;

/** Adapters know the model that they were trained on from another of the same shape. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class BaseSamplesTest {
    private final Path fixtures = SharedFixtures.require("tiny-chatglm3");
    private final Path base = fixtures.resolve("safetensors-fp32");

    @TempDir
    Path directory;

    private List<UnitSpec> units;
    private Path adapter;

    @BeforeEach
    void writeAdapter() throws Exception {
        units = DecoderUnits.of(ModelConfigReader.read(base));
        adapter = adapter("adapter", TuningMethod.Quantization.NONE);
    }

    /** As a run leaves it. */
    private Path adapter(String name, TuningMethod.Quantization quantization) throws IOException {
        Path made = Files.createDirectories(directory.resolve(name));
        Path source = fixtures.resolve("lora-all");
        TuningMethod.Lora method = (TuningMethod.Lora) AdapterFiles.read(source).method();
        try (TensorSource trained = WeightsDirectory.openAdapter(source);
                TensorSource files = WeightsDirectory.open(base)) {
            AdapterFiles.write(made, method.over(quantization), base, trained);
            BaseSamples.of(base, units, files).write(made);
        }
        return made;
    }

    private Path exported(String name, TensorSource weights, WeightDtype dtype) throws IOException {
        Path target = directory.resolve(name);
        HuggingFaceExport.write(weights, units, base, base, Optional.empty(), target, dtype, 1 << 30);
        return target;
    }

    @Test
    void copiesInOtherDtypesAreTheSameModel() throws Exception {
        try (TensorSource files = WeightsDirectory.open(base)) {
            Path brief = exported("bf16", files, WeightDtype.BF16);
            for (Path copy : List.of(base, fixtures.resolve("safetensors-fp16"), fixtures.resolve("bin-fp32"), brief)) {
                ModelSource.of(adapter, copy).close();
            }
        }
        for (TuningMethod.Quantization quantization : TuningMethod.Quantization.values()) {
            ModelSource.of(adapter(quantization.name(), quantization), base).close();
        }
    }

    @Test
    void anotherModelOfTheSameShapeIsRefusedInOneLine() throws Exception {
        String changed = "transformer.encoder.layers.1.mlp.dense_4h_to_h.weight";
        TensorSource files = WeightsDirectory.open(base);
        float[] values = files.readAll(changed);
        for (int i = 0; i < values.length; i++) {
            values[i] *= 1.05f;
        }
        long[] shape =
                files.info(changed).shape().stream().mapToLong(Long::longValue).toArray();
        Path other;
        try (TensorSource weights = new OverlaidSource(files, new ArraySource(changed, values, shape))) {
            other = exported("other", weights, WeightDtype.F32);
        }
        for (TuningMethod.Quantization quantization : TuningMethod.Quantization.values()) {
            Path made = adapter(quantization.name(), quantization);
            String message = assertThrows(TuningException.class, () -> ModelSource.of(made, other))
                    .getMessage();
            assertEquals(1, message.lines().count(), message);
            assertTrue(
                    message.startsWith(made + " was trained on the model in " + base + ", and the weights in " + other)
                            && message.contains(changed + "[")
                            && message.contains("--base")
                            && message.contains("model.path")
                            && message.contains(made.resolve("base_model.json").toString()),
                    message);
            Files.delete(made.resolve("base_model.json"));
            ModelSource.of(made, other).close();
        }
    }

    @Test
    void everyMatrixIsSampledAndReadBack() throws Exception {
        try (TensorSource files = WeightsDirectory.open(base)) {
            BaseSamples found = BaseSamples.read(adapter).orElseThrow();
            assertEquals(BaseSamples.of(base, units, files), found);
            int count = found.values().values().stream()
                    .mapToInt(java.util.Map::size)
                    .sum();
            assertTrue(count >= 64 && count < 100, "samples: " + count);
            for (String name : files.tensors().keySet()) {
                assertEquals(
                        files.info(name).shape().size() == 2, found.values().containsKey(name), name);
            }
            for (var tensor : found.values().entrySet()) {
                for (var sample : tensor.getValue().entrySet()) {
                    FloatBuffer value = FloatBuffer.allocate(1);
                    files.read(tensor.getKey(), sample.getKey(), value);
                    assertEquals(value.get(0), sample.getValue());
                }
            }
        }
        assertEquals(Optional.empty(), BaseSamples.read(fixtures.resolve("lora-all")), "peft's");
        Files.writeString(adapter.resolve("base_model.json"), "{\"samples\": {\"x\": {\"first\": 1}}}");
        String message = assertThrows(IOException.class, () -> ModelSource.of(adapter, base))
                .getMessage();
        assertTrue(message.contains("base_model.json is not as this program writes it"), message);
    }
}
