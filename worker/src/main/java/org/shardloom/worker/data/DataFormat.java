package org.shardloom.worker.data;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** What one line of a data file looks like. */
public enum DataFormat {
    /** {@code {instruction, input?, output, system?, history?: [[question, answer], ...]}}. */
    ALPACA,
    /** {@code {conversations: [{from: human|gpt|system, value, loss?}, ...], system?}}. */
    SHAREGPT,
    /** {@code {conversations: [{role: system|user|assistant, content, loss?}, ...], tools?}}, and {@link Glm3Records}. */
    CHATGLM3,
    /** {@code {input_ids: [...], labels: [...]}}; needs no tokenizer. */
    PRETOKENIZED;

    /** The name used in a job file. */
    public String key() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The format of that name.
     *
     * @throws IllegalArgumentException naming the formats there are
     */
    public static DataFormat of(String key) {
        return Arrays.stream(values())
                .filter(f -> f.key().equals(key))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("unknown data format `" + key + "`; one of "
                        + Arrays.stream(values()).map(DataFormat::key).collect(Collectors.joining(", "))));
    }
}
