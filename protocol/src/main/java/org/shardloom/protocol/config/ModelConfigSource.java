package org.shardloom.protocol.config;

import java.nio.file.Path;
import java.util.Optional;

/**
 * Where the model comes from. Its architecture is always read from {@code config.json} in {@code path}.
 *
 * @param path a Hugging Face model directory
 * @param init whether its weights are loaded or drawn anew
 * @param adapter directory of a trained adapter or prefix to start from
 */
public record ModelConfigSource(Path path, Init init, Optional<Path> adapter) {

    /** How weights get their first values. */
    public enum Init {
        /** Loaded from the model directory. */
        PRETRAINED,
        /** Drawn from the run's seed. */
        RANDOM
    }
}
