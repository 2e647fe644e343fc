package org.shardloom.worker.generate;

import java.util.List;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.KeyValueCache;

/** What a {@link Generator} asks of a model: logits after the tokens of sequences that it remembers. One thread. */
public interface TokenModel {
    DecoderConfig config();

    /** What a tuning method has added to it. */
    Adapters adapters();

    /** Longest sequence. */
    int positions();

    /** Bytes of cache that a token of a sequence takes. */
    long cacheBytesPerToken();

    /**
     * Room for sequences, to be given to {@link #extend}. Whoever asks closes it, before the model.
     *
     * @param slots number of sequences
     * @param capacity most tokens of a sequence, at most {@link #positions}
     */
    KeyValueCache newCache(int slots, int capacity);

    /**
     * Adds tokens to sequences of the cache: the first ones of a new sequence, or some more of one that has some already.
     *
     * @param slots of the cache, each at most once
     * @param tokens new tokens of each of the slots, at least one
     * @return fp32 logits after the last token of each: [slots][vocabulary]
     * @throws IllegalArgumentException when a slot has no room, or an id is not known to the model
     */
    float[][] extend(KeyValueCache cache, int[] slots, List<int[]> tokens);

    /** Refuses a sequence that the model cannot read. */
    default void check(int[] sequence) {
        if (sequence.length == 0 || sequence.length > positions()) {
            throw new IllegalArgumentException(
                    "a sequence of " + sequence.length + " tokens, expected 1 to " + positions());
        }
        for (int id : sequence) {
            if (id < 0 || id >= config().vocabulary()) {
                throw new IllegalArgumentException(
                        "token id " + id + " is not one of the model's " + config().vocabulary());
            }
        }
    }
}
