package org.shardloom.worker.zero;

/** A part of a step was applied before it turned out that the rest cannot be: the state is worth nothing, that of a checkpoint is. */
public final class TornStepException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** With what is wrong and which setting to change. */
    public TornStepException(String message) {
        super(message);
    }
}
