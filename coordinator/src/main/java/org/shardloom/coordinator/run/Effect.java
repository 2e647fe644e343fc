package org.shardloom.coordinator.run;

import java.util.List;
import java.util.OptionalDouble;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;

/** What the state machine wants done. */
public sealed interface Effect {
    /** Say something to a worker. */
    record Tell(int workerId, WorkerMessage message) implements Effect {}

    /** Start a worker process on this host. */
    record Launch(int workerId) implements Effect {}

    /** Make sure that a worker process is gone. */
    record Kill(int workerId) implements Effect {}

    /** Make the directory that workers write a checkpoint into. */
    record PrepareCheckpoint(long step) implements Effect {}

    /** Write the manifest, with the loss of the evaluation after the step if there was one, and give the checkpoint its name. */
    record CommitCheckpoint(
            TrainingState state,
            double loss,
            OptionalDouble evalLoss,
            EvaluationHistory evaluations,
            int worldSize,
            List<ShardWritten> shards)
            implements Effect {}

    /** Remove what was written of a checkpoint. */
    record DiscardCheckpoint(long step) implements Effect {}

    /** Put a step's metrics where people find them. */
    record PublishStep(StepMetrics metrics) implements Effect {}

    /** Answer that request for another number of workers; a null error is success. */
    record AnswerScale(long request, String error) implements Effect {}

    /** Tell people. */
    record Notice(boolean warning, String text) implements Effect {}

    /** The run is over. */
    record End(boolean success, String message) implements Effect {}
}
