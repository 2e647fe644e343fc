package org.shardloom.kernels.device;

/** A device could not give the memory that was asked for; the message says who asked for what and what holds the rest. */
public final class OutOfMemoryException extends RuntimeException {
    public OutOfMemoryException(String message) {
        super(message);
    }
}
