package org.shardloom.worker.generate;

/**
 * What follows a prompt.
 *
 * @param tokens new ids, without the stop token
 * @param end why there are no more
 */
public record Continuation(int[] tokens, End end) {
    /** Why a continuation ends. */
    public enum End {
        /** The model chose a stop token, or has said enough. */
        STOP,
        /** It has as many tokens as were asked for. */
        LENGTH,
        /** The model has no more positions. */
        POSITIONS
    }
}
