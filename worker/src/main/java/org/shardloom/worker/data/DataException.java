package org.shardloom.worker.data;

/** The training data can't be used as they are. The message names file, line and reason. */
public final class DataException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * @param message what is wrong and where
     */
    public DataException(String message) {
        super(message);
    }

    /**
     * @param message what is wrong and where
     * @param cause what found it
     */
    public DataException(String message, Throwable cause) {
        super(message, cause);
    }
}
