package org.shardloom.kernels.collective;

/** A collective did not complete: aborted, out of time, or its transport failed. The group is of no use afterwards. */
public final class CollectiveException extends RuntimeException {
    public CollectiveException(String message) {
        super(message);
    }

    public CollectiveException(String message, Throwable cause) {
        super(message, cause);
    }
}
