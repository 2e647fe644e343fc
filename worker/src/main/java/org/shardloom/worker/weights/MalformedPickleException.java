package org.shardloom.worker.weights;

/** A pickle is damaged or asks for something that is not allowed. Becomes a {@link WeightsException} at the border. */
final class MalformedPickleException extends RuntimeException {
    MalformedPickleException(String message) {
        super(message);
    }
}
