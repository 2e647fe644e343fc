package org.shardloom.protocol.message;

import java.util.List;

/** What the coordinator says to workers. */
public sealed interface WorkerMessage extends WireMessage {

    /** Where a generation's state comes from. */
    enum Origin {
        /** The model's files, or random numbers. */
        START,
        /** A checkpoint directory. */
        CHECKPOINT,
        /** The generation before, worker to worker. */
        RESHARD
    }

    /** The run's job, for a worker that asked for it; it prepares and then registers. */
    record Job(String yaml) implements WorkerMessage {}

    /** The worker takes part. */
    record Registered(int workerId) implements WorkerMessage {}

    /** The worker may not take part; it should end. */
    record Refused(String reason) implements WorkerMessage {}

    /**
     * Begin a generation.
     *
     * @param members old and new ones, ordered by worker
     * @param checkpoint directory, for {@link Origin#CHECKPOINT}
     */
    record StartGeneration(long generation, Origin origin, List<Member> members, String checkpoint, TrainingState state)
            implements WorkerMessage {}

    /** Everyone's offers, by rank. */
    record RendezvousResult(long generation, String key, List<byte[]> offers) implements WorkerMessage {}

    /** Do step {@code step}, counted from 1. */
    record RunStep(long generation, long step) implements WorkerMessage {}

    /** Write this rank's shard into the directory. */
    record SaveCheckpoint(long generation, long step, String directory) implements WorkerMessage {}

    /** Turn the checkpoint into Hugging Face files. */
    record ExportFinal(long generation, String checkpoint, String directory) implements WorkerMessage {}

    /** Give the generation up: end its collectives. */
    record AbortGeneration(long generation, String reason) implements WorkerMessage {}

    /** The worker is not needed any more; it should end. */
    record Leave(String reason) implements WorkerMessage {}

    /** What a worker says to itself; never on the wire. */
    non-sealed interface Local extends WorkerMessage {}
}
