package org.shardloom.protocol.message;

/**
 * What the guard over steps knows of those before.
 *
 * @param steps that were judged and applied
 * @param lastLoss of the last of them
 * @param lastNorm of the last of them
 * @param usualLogNorm moving average of the gradient norm's logarithm
 * @param firstLogNorm what that was after the warm-up; 0 before
 * @param skipped in a row, up to now
 * @param overflows of fp16 at the lowest scale in a row, up to now
 */
public record GuardState(
        int steps,
        double lastLoss,
        double lastNorm,
        double usualLogNorm,
        double firstLogNorm,
        int skipped,
        int overflows) {
    /** Before the first step. */
    public static final GuardState START = new GuardState(0, 0, 0, 0, 0, 0, 0);
}
