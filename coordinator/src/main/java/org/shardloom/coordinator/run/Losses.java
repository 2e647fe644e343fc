package org.shardloom.coordinator.run;

import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.WorkerMessage.Leave;

/**
 * What a run does about workers that end or fail: goes on without, waits for others and for replacements, or gives up.
 *
 * <p>Whatever goes wrong before a step is done that was never done before is a <em>setback</em>, but for the loss of a worker that has
 * proved itself: such a worker can be lost only once. A run with too many setbacks fails.
 */
final class Losses {
    /** Losses that belong together come this close to each other. */
    private static final long LOSS_SETTLE_MILLIS = 200;
    /** Survivors often fail before their peer's loss is noticed; doubles with every setback, and a loss cuts it short. */
    private static final long FAILURE_SETTLE_MILLIS = 1000;

    private static final int MOST_SETBACKS = 5;
    private final RunSettings settings;
    private final RunStatus status;
    private final Roster roster;
    private final Membership members;
    private final WantedWorkers wanted;
    private final Scaling scaling;
    private final StepBarrier steps;
    private final CheckpointWriting checkpoints;
    private final FinalExport export;
    private final Ending ending;
    private int setbacks;
    private long settledAt;
    /** The last loss of a device since the last step that was new. */
    private String lostDevice;

    Losses(
            RunSettings settings,
            RunStatus status,
            Roster roster,
            Membership members,
            WantedWorkers wanted,
            Scaling scaling,
            StepBarrier steps,
            CheckpointWriting checkpoints,
            FinalExport export,
            Ending ending) {
        this.settings = settings;
        this.status = status;
        this.roster = roster;
        this.members = members;
        this.wanted = wanted;
        this.scaling = scaling;
        this.steps = steps;
        this.checkpoints = checkpoints;
        this.export = export;
        this.ending = ending;
    }

    /** Whether it has been quiet for long enough to begin anew with those that are there. */
    boolean settled(long now) {
        return now >= settledAt;
    }

    /** A step was done that was never done before. */
    void overcome() {
        setbacks = 0;
        lostDevice = null;
    }

    /** A worker that the roster has just forgotten is gone. */
    void lost(int id, boolean handedOver, String reason, long now) {
        if (status.waiting()) {
            lostWhileWaiting(id, reason, now);
        } else if (!members.contains(id)) {
            status.notice(true, "worker " + id + " ended before it could take part: " + reason);
            if (members.expected() < wanted.count()) {
                scaling.giveUp("the new worker ended before it could take part: " + reason);
            }
        } else if (members.leaving().contains(id) && handedOver) {
            members.forget(id);
        } else {
            status.notice(true, "worker " + id + " (rank " + members.ranks().indexOf(id) + ") was lost: " + reason);
            if (status.is(RunState.FINISHING) && members.size() > 1) {
                members.forget(id);
                export.lost(id);
            } else {
                recover("worker " + id + " was lost", !roster.proven(id), LOSS_SETTLE_MILLIS, now);
            }
        }
    }

    private void lostWhileWaiting(int id, String reason, long now) {
        boolean newcomer = roster.newcomer(id);
        status.notice(
                true, "worker " + id + (newcomer ? " ended before it could take part: " : " was lost too: ") + reason);
        if (newcomer) {
            setbacks++;
        }
        if (status.is(RunState.ASSEMBLING)) {
            if (setbacks > MOST_SETBACKS || (!settings.allowReplacement() && roster.expected() < wanted.count())) {
                ending.giveUp("workers keep ending before they can take part: " + reason);
                return;
            }
        } else {
            settledAt = now + LOSS_SETTLE_MILLIS;
            if (setbacks > MOST_SETBACKS) {
                if (roster.size() < settings.leastWorkers()) {
                    ending.giveUp("replacements keep ending before they can take part: " + reason);
                    return;
                }
                wanted.lower(roster.size(), "new workers keep ending before they can take part: " + reason);
            }
        }
        replaceLost(reason);
    }

    /** A registered worker could not do what it was told. */
    void failed(WorkerFailed failure, long now) {
        int id = failure.workerId();
        boolean unprepared = failure.generation() < 0;
        if (unprepared && roster.anyProven()) {
            status.tell(id, new Leave(failure.message()));
            roster.remove(id);
            status.want(new Effect.Kill(id));
            lost(id, false, failure.message(), now);
            return;
        }
        switch (failure.severity()) {
            case FATAL -> ending.giveUp(failure.message());
            case PASSING -> {
                if (!status.waiting()) {
                    failedInPassing(id, failure.message(), now);
                }
            }
            case DEVICE_LOST -> {
                // Peers that waited for this one may have failed, and been heard, before; this is why.
                lostDevice = failure.message();
                if (status.waiting()) {
                    status.notice(true, "worker " + id + ": " + failure.message());
                } else {
                    failedInPassing(id, failure.message(), now);
                }
            }
        }
    }

    private void failedInPassing(int id, String message, long now) {
        status.notice(true, "worker " + id + ": " + message);
        long settleMillis = FAILURE_SETTLE_MILLIS << Math.min(setbacks, MOST_SETBACKS);
        recover("worker " + id + " failed: " + message, true, settleMillis, now);
    }

    /** Gives the generation up and waits, for other losses to show and for replacements; then loads the last checkpoint. */
    private void recover(String why, boolean setback, long settleMillis, long now) {
        if (setback && ++setbacks > MOST_SETBACKS) {
            ending.giveUp((lostDevice == null ? why : lostDevice) + "; " + MOST_SETBACKS
                    + " setbacks without a new step in between");
            return;
        }
        members.abort(why);
        checkpoints.abandon();
        steps.abandon();
        members.dissolve();
        status.enter(RunState.RECOVERING, why, now);
        settledAt = now + settleMillis;
        replaceLost(why);
    }

    private void replaceLost(String why) {
        if (settings.allowReplacement()) {
            members.launchMissing(wanted.count());
        } else {
            wanted.lower(Math.max(settings.leastWorkers(), roster.expected()), why);
        }
    }
}
