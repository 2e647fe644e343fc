package org.shardloom.protocol.message;

/**
 * What the guard over steps knows of those before.
 *
 * @param steps that were judged and applied
 * @param lowLoss lowest loss of late, which a fall within few steps drags down no more than a hundredfold each
 * @param lowNorm lowest gradient norm of late
 * @param usualLogNorm moving average of the gradient norm's logarithm
 * @param firstLogNorm what that was after the warm-up; 0 before
 * @param skipped in a row, up to now
 * @param overflows of fp16 at the lowest scale in a row, up to now
 */
public record GuardState(
        int steps,
        double lowLoss,
        double lowNorm,
        double usualLogNorm,
        double firstLogNorm,
        int skipped,
        int overflows) {
    /** Before the first step. */
    public static final GuardState START = new GuardState(0, 0, 0, 0, 0, 0, 0);
}
