package org.shardloom.coordinator.run;

import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.WorkerMessage.SaveCheckpoint;

/** Has checkpoints written by the generation's members and the coordinator's file thread; waits while a disk is full. */
final class CheckpointWriting {
    private final RunStatus status;
    private final Membership members;
    private final EarlyStop early;
    private final CheckpointProgress progress;
    private final SpacePause pause;

    CheckpointWriting(RunStatus status, Membership members, EarlyStop early, String resume) {
        this.status = status;
        this.members = members;
        this.early = early;
        this.progress = new CheckpointProgress(resume);
        this.pause = new SpacePause(status);
    }

    /** Directory of the last complete checkpoint, or null. */
    String last() {
        return progress.last();
    }

    /** Number of steps that no checkpoint holds. */
    long unsaved() {
        return progress.unsaved(status.training().step());
    }

    boolean isLastOf(long step) {
        return progress.isLastOf(step);
    }

    boolean idle() {
        return progress.idle();
    }

    boolean filesBusy() {
        return progress.filesBusy();
    }

    SpacePause pause() {
        return pause;
    }

    /** All workers hold the state of the last checkpoint, or of the beginning where there is none. */
    void loaded(long step) {
        progress.loaded(step);
    }

    void begin(long step) {
        progress.begin(step);
        status.want(new Effect.PrepareCheckpoint(step));
    }

    /** The directory is there: workers may write, if they are still wanted to. */
    void prepared(long step, String directory) {
        if (progress.prepared(step)) {
            if (status.is(RunState.TRAINING)) {
                members.ranks()
                        .forEach(id -> status.tell(id, new SaveCheckpoint(members.generation(), step, directory)));
            } else {
                progress.failed();
                status.want(new Effect.DiscardCheckpoint(step));
            }
        }
    }

    /** A rank's shard is on disk; what went wrong for good, or null. */
    String written(ShardWritten shard, long now) {
        return answered(shard.workerId(), shard.step(), shard, now);
    }

    /** A rank could not write its shard; what went wrong for good, or null. */
    String failed(ShardFailed failure, long now) {
        return failure.noSpace()
                ? answered(failure.workerId(), failure.step(), failure, now)
                : failed(failure.step(), false, failure.message(), now);
    }

    /** The attempt ends when no rank writes any more: a late shard must not meet the next attempt. */
    private String answered(int worker, long step, CoordinatorMessage answer, long now) {
        if (!progress.answered(worker, step, answer, members.ranks())) {
            return null;
        }
        ShardFailed failure = progress.failure();
        if (failure != null) {
            return failed(failure.step(), failure.noSpace(), failure.message(), now);
        }
        status.want(new Effect.CommitCheckpoint(
                status.training(),
                status.loss(),
                status.evalLoss(),
                early.history(),
                members.size(),
                progress.commit()));
        return null;
    }

    /** The attempt came to nothing; what went wrong for good, or null. */
    String failed(long step, boolean noSpace, String message, long now) {
        if (!progress.inHand(step) || status.isFinal()) {
            return null;
        }
        progress.failed();
        status.want(new Effect.DiscardCheckpoint(step));
        if (!status.is(RunState.TRAINING)) {
            return null;
        }
        if (!noSpace) {
            return "checkpoint of step " + step + " failed: " + message;
        }
        pause.begin(
                "after step " + step,
                message,
                status.stopping()
                        ? " and then stops; stopped once more, it ends without this checkpoint"
                        : "; stopped, it ends without this checkpoint",
                now);
        return null;
    }

    void committed(long step, String directory) {
        progress.committed(step, directory);
        if (status.isFinal()) {
            pause.forget();
        } else {
            pause.end();
        }
    }

    /** The writers are gone. */
    void abandon() {
        if (progress.abandon()) {
            status.want(new Effect.DiscardCheckpoint(progress.step()));
        }
        pause.forget();
    }
}
