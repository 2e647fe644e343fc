package org.shardloom.worker.checkpoint;

import java.io.IOException;

/** A checkpoint cannot be used: incomplete, corrupted, or of another model. */
public final class CheckpointException extends IOException {
    public CheckpointException(String message) {
        super(message);
    }
}
