package org.shardloom.worker.model;

/** A model's config.json is missing, malformed, or asks for something that this decoder does not have. */
public final class ModelConfigException extends RuntimeException {
    public ModelConfigException(String message) {
        super(message);
    }
}
