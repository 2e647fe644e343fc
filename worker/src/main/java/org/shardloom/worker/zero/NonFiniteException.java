package org.shardloom.worker.zero;

/** A loss or gradient is not finite; nothing was updated. The message names the unit that it came from. */
public final class NonFiniteException extends StepRefusedException {
    public NonFiniteException(String message) {
        super(message);
    }
}
