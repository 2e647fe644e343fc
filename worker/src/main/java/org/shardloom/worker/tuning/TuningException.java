package org.shardloom.worker.tuning;

/** A tuning method does not fit the model; the message says what would. */
public final class TuningException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** With what is wrong and what to do. */
    public TuningException(String message) {
        super(message);
    }
}
