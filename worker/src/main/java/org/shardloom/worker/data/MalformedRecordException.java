package org.shardloom.worker.data;

/** One record is not as its format demands. The reader adds file and line. */
final class MalformedRecordException extends Exception {
    private static final long serialVersionUID = 1L;

    MalformedRecordException(String reason) {
        super(reason);
    }
}
