package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Opens the weights in a model directory laid out as Hugging Face tools write it. */
public final class WeightsDirectory {
    static final String SAFETENSORS = "model.safetensors";
    static final String SAFETENSORS_INDEX = "model.safetensors.index.json";
    static final String TORCH = "pytorch_model.bin";
    static final String TORCH_INDEX = "pytorch_model.bin.index.json";
    /** The names {@link #open} looks for, first choice first. */
    static final List<String> ENTRY_POINTS = List.of(SAFETENSORS, SAFETENSORS_INDEX, TORCH, TORCH_INDEX);

    /** The names {@link #openAdapter} looks for: as peft writes them, and as prefixes are saved here. */
    private static final List<String> ADAPTERS =
            List.of("adapter_model.safetensors", "adapter_model.bin", "prefix_encoder.safetensors");

    private WeightsDirectory() {}

    /**
     * Opens a trained adapter or prefix.
     *
     * @throws WeightsException if none of the files that such a directory has is there, or it is damaged
     */
    public static TensorSource openAdapter(Path directory) throws IOException {
        for (String name : ADAPTERS) {
            Path path = directory.resolve(name);
            if (Files.exists(path)) {
                return name.endsWith(".bin") ? TorchFile.open(path) : SafetensorsFile.open(path);
            }
        }
        throw WeightsException.in(directory, "no adapter here; looked for " + String.join(", ", ADAPTERS));
    }

    /**
     * Opens the first of model.safetensors, model.safetensors.index.json, pytorch_model.bin and
     * pytorch_model.bin.index.json that exists. No other name is guessed.
     *
     * <p>With an index all shards are opened and every indexed tensor is looked up in its shard. Only indexed tensors
     * are offered. Shards must lie in the directory itself (they may be symbolic links).
     *
     * @return the weights; the caller closes them
     * @throws WeightsException if none of the files exists, a shard is missing or damaged, a shard lacks an indexed
     *     tensor, or the index names a file outside the directory
     * @throws IOException if a file cannot be read
     */
    public static TensorSource open(Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            throw WeightsException.in(directory, "expected a directory with model weights, found none");
        }
        for (String name : ENTRY_POINTS) {
            Path path = directory.resolve(name);
            if (Files.exists(path)) {
                return switch (name) {
                    case SAFETENSORS -> SafetensorsFile.open(path);
                    case SAFETENSORS_INDEX -> ShardedSource.open(path, ".safetensors", SafetensorsFile::open);
                    case TORCH -> TorchFile.open(path);
                    default -> ShardedSource.open(path, ".bin", TorchFile::open);
                };
            }
        }
        throw WeightsException.in(directory, "no model weights here; looked for " + String.join(", ", ENTRY_POINTS));
    }
}
