package org.shardloom.coordinator.run;

/**
 * Where a run is. Legal transitions:
 *
 * <pre>
 *   ASSEMBLING -> PLANNING -> LOADING -> TRAINING
 *   TRAINING   -> RESIZING -> TRAINING
 *   TRAINING, RESIZING, LOADING, FINISHING -> RECOVERING -> PLANNING
 *   TRAINING   -> FINISHING -> DONE
 *   any        -> DONE, when stopped
 *   any        -> FAILED
 * </pre>
 */
public enum RunState {
    /** Waiting for workers to register. */
    ASSEMBLING,
    /** Deciding ranks and slices. */
    PLANNING,
    /** Workers load weights, data and a checkpoint. */
    LOADING,
    /** Steps, and checkpoints between them. */
    TRAINING,
    /** State moves to its new owners. */
    RESIZING,
    /** A worker was lost; waiting for the others and for a replacement. */
    RECOVERING,
    /** Last checkpoint and export. */
    FINISHING,
    /** Ended as wished. */
    DONE,
    /** Ended with an error. */
    FAILED;

    /** Whether nothing follows. */
    public boolean isFinal() {
        return this == DONE || this == FAILED;
    }
}
