package org.shardloom.protocol.config;

import java.util.Map;

/**
 * The tuning method: which parameters are trained.
 *
 * @param type the method
 * @param options the method's own options: strings, booleans, {@code Long}, {@code Double}, and lists and maps of these,
 *     keys in alphabetical order
 */
public record MethodConfig(Type type, Map<String, Object> options) {

    /** Copies the options deeply; every integer becomes a {@code Long}, every fraction a {@code Double}. */
    public MethodConfig {
        options = FreeValues.copyOf(options);
    }

    /**
     * The method with its options read.
     *
     * @throws IllegalArgumentException when an option is wrong, which a job file's checks have excluded
     */
    public TuningMethod tuning() {
        return MethodOptions.read(this, (option, problem) -> {
            throw new IllegalArgumentException(problem);
        });
    }

    /** The methods that a job file can name. */
    public enum Type {
        /** All parameters. */
        FULL,
        /** Some layers, the others frozen. */
        FREEZE,
        /** Low-rank adapters. */
        LORA,
        /** Low-rank adapters over quantized weights. */
        QLORA,
        /** Trained embeddings before the prompt. */
        P_TUNING,
        /** Trained prefixes in every layer. */
        P_TUNING_V2
    }
}
