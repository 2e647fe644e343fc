package org.shardloom.protocol.disk;

import java.io.IOException;

/** The disk has no room for what must be written; trying again can help once someone has made some. */
public final class NoSpaceException extends IOException {
    public NoSpaceException(String message) {
        super(message);
    }

    public NoSpaceException(String message, Throwable cause) {
        super(message, cause);
    }
}
