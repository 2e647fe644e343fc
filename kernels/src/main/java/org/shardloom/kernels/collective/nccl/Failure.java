package org.shardloom.kernels.collective.nccl;

import java.util.concurrent.atomic.AtomicReference;
import org.shardloom.kernels.collective.CollectiveException;

/** Whether a rank's group has failed, and why: the first reason stays. Thread-safe. */
final class Failure {
    private final int rank;
    private final AtomicReference<String> reason = new AtomicReference<>();

    Failure(int rank) {
        this.rank = rank;
    }

    /** Notes the reason, unless there is one. */
    void set(String why) {
        reason.compareAndSet(null, why);
    }

    /** Null as long as nothing has failed. */
    String reason() {
        return reason.get();
    }

    /** What an operation of a failed group throws; null as long as nothing has failed. */
    CollectiveException of(String operation) {
        String why = reason.get();
        return why == null ? null : new CollectiveException("rank " + rank + ", " + operation + ": " + why);
    }
}
