package org.shardloom.worker.checkpoint;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.Floats;
import org.shardloom.worker.weights.ShardedSafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/** Writes a model as a Hugging Face directory: weights under their original names, configuration and tokenizer beside them. */
public final class HuggingFaceExport {
    private static final int PIECE = 1 << 20;
    /** Room beyond tensors and copied files: headers, the index. */
    private static final long MARGIN = 1L << 20;

    private static final String CONFIG = "config.json";
    /** Where configurations name the dtype of the weights beside them; newer versions of transformers write the shorter key. */
    private static final String DTYPE = "torch_dtype", NEWER_DTYPE = "dtype";

    private static final List<String> MODEL_FILES = List.of(CONFIG, "generation_config.json");
    private static final List<String> TOKENIZER_FILES = List.of(
            "tokenizer.model",
            "ice_text.model",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.json",
            "merges.txt");

    private HuggingFaceExport() {}

    /**
     * Writes the directory under a temporary name, forces it to the disk and renames it, so that it is whole or absent; what is there of
     * it after a failure is removed. Host memory stays bounded whatever the model's size.
     *
     * @param weights the tensors of the model, under their names in files; rotary frequencies among them are written too, in fp32
     * @param units of the model
     * @param modelDirectory where configuration and tokenizer files are copied from, as far as they exist; of the configuration, the dtype
     *     becomes that of the weights written
     * @param tokenizerDirectory likewise; may be the same
     * @param trainedAs how the model was trained, where that is known
     * @throws NoSpaceException when the disk cannot hold it, found before anything is written unless someone else takes the space
     */
    public static void write(
            TensorSource weights,
            List<UnitSpec> units,
            Path modelDirectory,
            Path tokenizerDirectory,
            Optional<TrainedAs> trainedAs,
            Path target,
            WeightDtype dtype,
            long maxShardBytes)
            throws IOException {
        write(
                weights,
                units,
                modelDirectory,
                tokenizerDirectory,
                trainedAs,
                target,
                dtype,
                maxShardBytes,
                directory -> {});
    }

    /**
     * Writes the directory likewise, if a last look at it agrees.
     *
     * @param check is given the whole directory before it has its name; where it throws, nothing is left
     */
    public static void write(
            TensorSource weights,
            List<UnitSpec> units,
            Path modelDirectory,
            Path tokenizerDirectory,
            Optional<TrainedAs> trainedAs,
            Path target,
            WeightDtype dtype,
            long maxShardBytes,
            WholeDirectory.Writer check)
            throws IOException {
        List<TensorInfo> tensors = tensors(weights, units, dtype);
        Map<String, Path> copies = new TreeMap<>();
        find(MODEL_FILES, modelDirectory, copies);
        find(TOKENIZER_FILES, modelDirectory, copies);
        find(TOKENIZER_FILES, tokenizerDirectory, copies);
        findCode(modelDirectory, copies);
        WholeDirectory.write(target, bytes(tensors, copies.values()) + MARGIN, "the model", directory -> {
            for (Map.Entry<String, Path> copy : copies.entrySet()) {
                if (copy.getKey().equals(CONFIG)) {
                    Files.write(directory.resolve(CONFIG), configOf(modelDirectory, dtype));
                } else {
                    Files.copy(copy.getValue(), directory.resolve(copy.getKey()));
                }
            }
            if (trainedAs.isPresent()) {
                trainedAs.get().withTokenizerBeside().write(directory);
            }
            try (ShardedSafetensorsWriter writer = ShardedSafetensorsWriter.create(directory, tensors, maxShardBytes)) {
                for (TensorInfo tensor : tensors) {
                    append(writer, weights, tensor);
                }
                writer.finish();
            }
            check.write(directory);
        });
    }

    /** The model's configuration, whose keys keep their order, over weights of that dtype. */
    private static byte[] configOf(Path modelDirectory, WeightDtype dtype) throws IOException {
        ObjectNode config = (ObjectNode) ModelConfigReader.json(modelDirectory);
        String name =
                switch (dtype) {
                    case F32 -> "float32";
                    case F16 -> "float16";
                    case BF16 -> "bfloat16";
                    default -> throw new IllegalArgumentException("cannot export as " + dtype);
                };
        if (config.has(NEWER_DTYPE)) {
            config.put(NEWER_DTYPE, name);
        }
        if (config.has(DTYPE) || !config.has(NEWER_DTYPE)) {
            config.put(DTYPE, name);
        }
        return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsBytes(config);
    }

    private static List<TensorInfo> tensors(TensorSource weights, List<UnitSpec> units, WeightDtype dtype) {
        List<TensorInfo> tensors = new ArrayList<>();
        for (UnitSpec unit : units) {
            for (ParameterSpec p : unit.parameters().values()) {
                p.sources().forEach(s -> tensors.add(new TensorInfo(s.name(), dtype, p.shapeOf(s))));
            }
        }
        weights.tensors().values().stream()
                .filter(t -> t.name().endsWith("inv_freq"))
                .forEach(t -> tensors.add(new TensorInfo(t.name(), WeightDtype.F32, t.shape())));
        return tensors;
    }

    private static long bytes(List<TensorInfo> tensors, Collection<Path> files) throws IOException {
        long bytes = tensors.stream().mapToLong(TensorInfo::byteCount).sum();
        for (Path file : files) {
            bytes += Files.size(file);
        }
        return bytes;
    }

    private static void find(List<String> names, Path directory, Map<String, Path> found) {
        for (String name : names) {
            if (Files.isRegularFile(directory.resolve(name))) {
                found.put(name, directory.resolve(name));
            }
        }
    }

    /** The model's own Python files (modeling_*.py and the like), which transformers needs for trust_remote_code models. */
    private static void findCode(Path directory, Map<String, Path> found) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            files.filter(f -> f.getFileName().toString().endsWith(".py") && Files.isRegularFile(f))
                    .forEach(f -> found.put(f.getFileName().toString(), f));
        }
    }

    private static void append(ShardedSafetensorsWriter writer, TensorSource weights, TensorInfo tensor)
            throws IOException {
        long count = tensor.elementCount();
        FloatBuffer floats = FloatBuffer.allocate((int) Math.min(PIECE, count));
        for (long from = 0; from < count; from += PIECE) {
            floats.clear().limit((int) Math.min(PIECE, count - from));
            weights.read(tensor.name(), from, floats);
            writer.append(tensor.name(), encode(floats.flip(), tensor.dtype()));
        }
    }

    private static ByteBuffer encode(FloatBuffer floats, WeightDtype dtype) {
        ByteBuffer bytes =
                ByteBuffer.allocate(floats.remaining() * dtype.byteSize()).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = floats.position(); i < floats.limit(); i++) {
            switch (dtype) {
                case F32 -> bytes.putFloat(floats.get(i));
                case F16 -> bytes.putShort(Floats.floatToHalf(floats.get(i)));
                case BF16 -> bytes.putShort(Floats.floatToBf16(floats.get(i)));
                default -> throw new IllegalArgumentException("cannot export as " + dtype);
            }
        }
        return bytes.flip();
    }
}
