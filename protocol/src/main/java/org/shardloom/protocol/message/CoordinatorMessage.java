package org.shardloom.protocol.message;

import akka.actor.typed.ActorRef;
import java.util.List;
import org.shardloom.protocol.plan.UnitSize;

/** What workers say to the coordinator. */
public sealed interface CoordinatorMessage extends WireMessage {

    /**
     * A worker that was started without a job asks for the run's.
     *
     * @param proof HMAC of the run's secret, see {@code RunSecret}
     */
    record AskJob(String proof, String host, long pid, ActorRef<WorkerMessage> worker) implements CoordinatorMessage {}

    /**
     * A worker that has prepared asks to take part.
     *
     * @param workerId as the launcher numbered it, or -1 for one started by hand
     * @param proof HMAC of the run's secret, see {@code RunSecret}
     * @param jobFingerprint of the job that the worker has prepared for
     * @param contentDigest of the model's configuration and the samples that it has read; empty where it could not read them
     * @param hostKey equal for workers that can share memory
     */
    record Register(
            int workerId,
            String proof,
            String jobFingerprint,
            String contentDigest,
            String host,
            String hostKey,
            long pid,
            String device,
            ActorRef<WorkerMessage> worker)
            implements CoordinatorMessage {}

    /** One rank's offer to a rendezvous of {@code size} ranks. */
    record RendezvousOffer(long generation, int workerId, String key, int rank, int size, byte[] offer)
            implements CoordinatorMessage {}

    /**
     * A worker has everything that it needs for steps of the generation, or, if it leaves, has handed over its state.
     *
     * @param totalSteps of the run
     * @param units of the model
     * @param summary of the data, for people
     */
    record Ready(
            long generation,
            int workerId,
            long totalSteps,
            List<UnitSize> units,
            String modelConfigJson,
            String summary,
            TrainingState state)
            implements CoordinatorMessage {}

    /** A rank has done its part of a step. */
    record StepDone(long generation, int workerId, TrainingState state, StepReport report)
            implements CoordinatorMessage {}

    /**
     * A rank has stopped before a step's update, as all ranks do: their state is that before the step.
     *
     * @param reason what is wrong with the step, and which setting to change
     */
    record StepRefused(long generation, int workerId, long step, String reason) implements CoordinatorMessage {}

    /** A rank's shard of a checkpoint is on disk. */
    record ShardWritten(long generation, int workerId, long step, int rank, String file, long bytes, byte[] checksum)
            implements CoordinatorMessage {}

    /** A rank could not write its shard. */
    record ShardFailed(long generation, int workerId, long step, boolean noSpace, String message)
            implements CoordinatorMessage {}

    /** The trained model is written. */
    record Exported(long generation, int workerId, String directory) implements CoordinatorMessage {}

    /** The disk has no room for the trained model; nothing of it is left there. */
    record ExportFailed(long generation, int workerId, String message) implements CoordinatorMessage {}

    /**
     * A worker could not do what it was told.
     *
     * @param generation of the order; -1 where the worker could not even prepare
     */
    record WorkerFailed(long generation, int workerId, Severity severity, String message)
            implements CoordinatorMessage {}

    /** What may be done about a failure. */
    enum Severity {
        /** A new generation may do better: a peer has gone. */
        PASSING,
        /** The worker's process ends, for its device is of no use to it any more; another process may do better. */
        DEVICE_LOST,
        /** Trying again cannot help: bad input, a loss that is not finite. */
        FATAL
    }

    /** What the coordinator says to itself; never on the wire. */
    non-sealed interface Local extends CoordinatorMessage {}
}
