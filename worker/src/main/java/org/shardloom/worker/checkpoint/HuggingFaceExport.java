package org.shardloom.worker.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.Floats;
import org.shardloom.worker.weights.ShardedSafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.WeightDtype;

/** Turns a checkpoint into a Hugging Face directory: weights under their original names, configuration and tokenizer beside them. */
public final class HuggingFaceExport {
    private static final int PIECE = 1 << 20;
    private static final List<String> MODEL_FILES = List.of("config.json", "generation_config.json");
    private static final List<String> TOKENIZER_FILES = List.of(
            "tokenizer.model",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.json",
            "merges.txt");

    private HuggingFaceExport() {}

    /**
     * Writes the directory under a temporary name and renames it, so that it is whole or absent. Host memory stays bounded whatever the
     * model's size.
     *
     * @param units of the checkpoint's model
     * @param modelDirectory where configuration and tokenizer files are copied from, as far as they exist
     * @param tokenizerDirectory likewise; may be the same
     */
    public static void write(
            Checkpoint checkpoint,
            List<UnitSpec> units,
            Path modelDirectory,
            Path tokenizerDirectory,
            Path target,
            WeightDtype dtype,
            long maxShardBytes)
            throws IOException {
        List<Piece> pieces = pieces(units);
        List<TensorInfo> tensors = pieces.stream()
                .map(p -> new TensorInfo(p.source.name(), dtype, p.parameter.shapeOf(p.source)))
                .toList();
        Path temporary = target.resolveSibling(target.getFileName() + ".writing");
        deleteTree(temporary);
        Files.createDirectories(temporary);
        copy(MODEL_FILES, modelDirectory, temporary);
        copy(TOKENIZER_FILES, modelDirectory, temporary);
        copy(TOKENIZER_FILES, tokenizerDirectory, temporary);
        copyCode(modelDirectory, temporary);
        try (ShardedSafetensorsWriter writer = ShardedSafetensorsWriter.create(temporary, tensors, maxShardBytes)) {
            for (Piece piece : pieces) {
                append(writer, checkpoint, piece, dtype);
            }
            writer.finish();
        }
        deleteTree(target);
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
    }

    private static void copy(List<String> names, Path from, Path to) throws IOException {
        for (String name : names) {
            if (Files.isRegularFile(from.resolve(name))) {
                Files.copy(from.resolve(name), to.resolve(name), StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    private record Piece(int unit, ParameterSpec parameter, ParameterSpec.Source source) {}

    private static List<Piece> pieces(List<UnitSpec> units) {
        List<Piece> pieces = new ArrayList<>();
        for (int u = 0; u < units.size(); u++) {
            for (ParameterSpec p : units.get(u).parameters().values()) {
                for (ParameterSpec.Source source : p.sources()) {
                    pieces.add(new Piece(u, p, source));
                }
            }
        }
        return pieces;
    }

    private static void append(ShardedSafetensorsWriter writer, Checkpoint checkpoint, Piece piece, WeightDtype dtype)
            throws IOException {
        ParameterSpec p = piece.parameter;
        long start = p.offset() + piece.source.firstRow() * p.columns();
        long count = piece.source.rows() * p.columns();
        FloatBuffer floats = FloatBuffer.allocate((int) Math.min(PIECE, count));
        for (long from = 0; from < count; from += PIECE) {
            floats.clear().limit((int) Math.min(PIECE, count - from));
            checkpoint.read(piece.unit, Part.MASTER, start + from, floats);
            writer.append(piece.source.name(), encode(floats, dtype));
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

    /** The model's own Python files (modeling_*.py and the like), which transformers needs for trust_remote_code models. */
    private static void copyCode(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.filter(f -> f.getFileName().toString().endsWith(".py"))
                    .toList()) {
                Files.copy(file, to.resolve(file.getFileName().toString()), StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    private static void deleteTree(Path tree) throws IOException {
        if (!Files.exists(tree)) {
            return;
        }
        try (Stream<Path> paths = Files.walk(tree)) {
            for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
