package org.shardloom.worker.tokenizer;

/** A tokenizer's files are missing, damaged or not of the expected kind. The message says which and what to do. */
public final class TokenizerException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * @param message what is wrong, naming the file
     */
    public TokenizerException(String message) {
        super(message);
    }

    /**
     * @param message what is wrong, naming the file
     * @param cause what found it
     */
    public TokenizerException(String message, Throwable cause) {
        super(message, cause);
    }
}
