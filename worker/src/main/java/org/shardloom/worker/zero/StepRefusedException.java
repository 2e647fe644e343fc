package org.shardloom.worker.zero;

/** A step was not applied and the run should not go on as it is; the state is that before the step, on every rank. */
public class StepRefusedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** With what is wrong and which setting to change. */
    public StepRefusedException(String message) {
        super(message);
    }
}
