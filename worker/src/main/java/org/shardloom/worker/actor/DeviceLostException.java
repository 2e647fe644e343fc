package org.shardloom.worker.actor;

/** The worker's GPU is of no use to its process any more. */
final class DeviceLostException extends RuntimeException {
    DeviceLostException(String why, Throwable failure) {
        super(why, failure);
    }
}
