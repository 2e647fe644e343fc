package org.shardloom.worker.checkpoint;

import java.io.IOException;

/** The disk has no room for what must be written. */
public final class NoSpaceException extends IOException {
    public NoSpaceException(String message) {
        super(message);
    }
}
