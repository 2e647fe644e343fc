package org.shardloom.coordinator.run;

import java.util.List;
import org.shardloom.protocol.message.CoordinatorMessage.ExportFailed;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.StepRefused;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.WorkerMessage.Leave;

/**
 * The run's state machine: takes events with the time they happened at, gives the effects that follow. It knows no actor, no clock
 * and no file, so a whole cluster's life can be tested in one thread. States and transitions are in {@link RunState}.
 *
 * <p>Membership changes only between steps, or when a worker is lost; each change starts a new generation. Here is what is done when;
 * how it is done is the matter of {@link Membership}, {@link Scaling}, {@link ReadyBarrier}, {@link StepBarrier}, {@link CheckpointWriting}, {@link FinalExport}, {@link
 * Losses} and {@link Ending}.
 */
public final class RunMachine {
    private final long checkpointEvery;
    private final RunStatus status = new RunStatus();
    private final Roster roster = new Roster();
    private final Membership members = new Membership(roster, status::want);
    private final WantedWorkers wanted;
    private final Scaling scaling;
    private final ReadyBarrier ready;
    private final StepBarrier steps;
    private final CheckpointWriting checkpoints;
    private final FinalExport export;
    private final Ending ending;
    private final Losses losses;
    private final EarlyStop early;
    /** Whether people want the end although there is no space for what should be written first. */
    private boolean stopUnsaved;

    /** A machine of a run that has not begun. */
    public RunMachine(RunSettings settings) {
        this.checkpointEvery = settings.checkpointEvery();
        this.early = new EarlyStop(settings.patience(), settings.evaluations());
        this.wanted = new WantedWorkers(settings.workers(), status::want);
        this.scaling = new Scaling(settings, status, roster, members, wanted);
        this.ready = new ReadyBarrier(status, members, settings.schedule());
        this.steps = new StepBarrier(status, members, settings.minStepSeconds());
        this.checkpoints = new CheckpointWriting(status, members, early, settings.resume());
        this.export = new FinalExport(status, members, settings.outputDir());
        this.ending = new Ending(status, roster, members, wanted, checkpoints, export);
        this.losses =
                new Losses(settings, status, roster, members, wanted, scaling, steps, checkpoints, export, ending);
    }

    /** Begins the run: asks for the first workers. */
    public List<Effect> start(long now) {
        early.begin(status);
        status.enter(RunState.ASSEMBLING, "waiting for workers", now);
        members.launchMissing(wanted.count());
        return status.drain();
    }

    /** A worker has proved that it belongs to the run. */
    public List<Effect> registered(WorkerInfo worker, long now) {
        if (status.isFinal()) {
            status.tell(worker.id(), new Leave("the run has ended"));
        } else if (!roster.has(worker.id())) {
            roster.register(worker);
            if (status.waiting()) {
                status.detail(roster.size() + " of " + wanted.count() + " workers");
            } else {
                members.dismissSurplus(wanted.count());
            }
        }
        return goOn(now);
    }

    /** A number for a worker that was started by hand; the run grows by it, unless someone was missing. */
    public int joinedByHand() {
        if (members.expected() >= wanted.count()) {
            wanted.oneMore();
        }
        return roster.newId();
    }

    /** A worker process ended, or its node was removed from the cluster. */
    public List<Effect> lost(int id, String reason, long now) {
        if (!roster.remove(id) || status.isFinal()) {
            return status.drain();
        }
        status.want(new Effect.Kill(id));
        losses.lost(id, ready.hasAnswered(id), reason, now);
        return goOn(now);
    }

    /** A worker could not do what it was told. */
    public List<Effect> failed(WorkerFailed failure, long now) {
        // A device that is lost is lost to every generation.
        boolean stale = failure.generation() >= 0
                && failure.generation() != members.generation()
                && failure.severity() != Severity.DEVICE_LOST;
        if (status.isFinal() || !roster.has(failure.workerId()) || stale) {
            return status.drain();
        }
        losses.failed(failure, now);
        return goOn(now);
    }

    /** A worker has what the generation's steps need, or has handed over what it had. */
    public List<Effect> ready(Ready answer, long now) {
        boolean loading = status.is(RunState.LOADING);
        if (answer.generation() != members.generation() || !(loading || status.is(RunState.RESIZING))) {
            return status.drain();
        }
        if (ready.answered(answer, now)) {
            long step = status.training().step();
            steps.reached(step);
            if (loading) {
                checkpoints.loaded(step);
            }
            scaling.answerIfReached();
        }
        return goOn(now);
    }

    /** A rank has done its part of the step. */
    public List<Effect> stepDone(StepDone done, long now) {
        if (done.generation() == members.generation() && status.is(RunState.TRAINING) && steps.answered(done, now)) {
            early.evaluated(status.latestEvaluation(), status);
            if (steps.reached(status.training().step())) {
                losses.overcome();
                roster.prove(members.ranks());
            }
        }
        return goOn(now);
    }

    /** A rank has stopped before a step's update: all of them do. What there was before is saved, and the run ends. */
    public List<Effect> stepRefused(StepRefused refusal, long now) {
        if (refusal.generation() == members.generation() && status.is(RunState.TRAINING) && steps.refused(refusal)) {
            status.refuse(refusal.reason());
        }
        return goOn(now);
    }

    /** The directory is there: workers may write. */
    public List<Effect> checkpointPrepared(long step, String directory, long now) {
        checkpoints.prepared(step, directory);
        return goOn(now);
    }

    /** A rank's shard is on disk. */
    public List<Effect> shardWritten(ShardWritten shard, long now) {
        return shard.generation() == members.generation()
                ? goOnUnless(checkpoints.written(shard, now), now)
                : status.drain();
    }

    /** A rank could not write its shard. */
    public List<Effect> shardFailed(ShardFailed failure, long now) {
        return failure.generation() == members.generation()
                ? goOnUnless(checkpoints.failed(failure, now), now)
                : status.drain();
    }

    /** The coordinator could not make the directory or commit. */
    public List<Effect> checkpointFailed(long step, boolean noSpace, String message, long now) {
        return goOnUnless(checkpoints.failed(step, noSpace, message, now), now);
    }

    /** A checkpoint has its final name. */
    public List<Effect> checkpointCommitted(long step, String directory, long now) {
        checkpoints.committed(step, directory);
        return goOn(now);
    }

    /** The trained model is written. */
    public List<Effect> exported(Exported exported, long now) {
        if (exported.generation() == members.generation() && status.is(RunState.FINISHING)) {
            export.pause().end();
            ending.exported(exported.directory());
        }
        return status.drain();
    }

    /** There is no space for the trained model. */
    public List<Effect> exportFailed(ExportFailed failure, long now) {
        if (failure.generation() == members.generation() && status.is(RunState.FINISHING)) {
            export.failed(failure.workerId(), failure.message(), now);
        }
        return goOn(now);
    }

    /**
     * People want another number of workers.
     *
     * @param request comes back in the {@link Effect.AnswerScale}, of which there is one for each request
     */
    public List<Effect> scale(long request, int count, long now) {
        scaling.ask(request, count, now);
        return goOn(now);
    }

    /** Stop at the next step boundary, with a checkpoint if there is space for one; or at once. */
    public List<Effect> stop(boolean immediately, long now) {
        boolean idle = status.is(RunState.ASSEMBLING) || status.is(RunState.PLANNING) || status.is(RunState.LOADING);
        if (status.isFinal()) {
            return status.drain();
        }
        if (immediately || idle) {
            ending.stopped();
            return status.drain();
        }
        stopUnsaved |= checkpoints.pause().isOn();
        status.stop();
        if (!status.is(RunState.FINISHING)) {
            status.detail("stopping");
        }
        return goOn(now);
    }

    /** Time passes; call a few times a second. */
    public List<Effect> tick(long now) {
        return goOnUnless(scaling.giveUpLate(now), now);
    }

    private List<Effect> fail(String message) {
        if (!status.isFinal()) {
            ending.giveUp(message);
        }
        return status.drain();
    }

    /** The run as people see it. */
    public RunView view() {
        return new RunView(
                status.state(),
                status.detail(),
                status.training().step(),
                status.totalSteps(),
                status.loss(),
                members.generation(),
                wanted.count(),
                roster.infos());
    }

    private List<Effect> goOnUnless(String problem, long now) {
        return problem == null ? goOn(now) : fail(problem);
    }

    private List<Effect> goOn(long now) {
        assembleIfComplete(now);
        boundary(now);
        if (status.is(RunState.FINISHING)) {
            finish(now);
        }
        return status.drain();
    }

    /** Once all have come, losses have settled and no file work is under way, a waiting run loads what it has. */
    private void assembleIfComplete(long now) {
        if (!status.waiting() || checkpoints.filesBusy()) {
            return;
        }
        if (status.stopping()) {
            ending.stopped();
        } else if (scaling.isComplete() && losses.settled(now)) {
            status.enter(RunState.PLANNING, "", now);
            ready.begin();
            status.refuse(null);
            status.enter(RunState.LOADING, "workers load model and data", now);
            members.assemble(wanted.count(), checkpoints.last(), status.training());
        }
    }

    /** Everything that may happen between steps, in order of urgency; nothing in other states. */
    private void boundary(long now) {
        if (!status.is(RunState.TRAINING) || steps.underWay() || !checkpoints.idle()) {
            return;
        }
        long step = status.training().step();
        boolean finished = step >= status.totalSteps() || early.isOver(step);
        boolean refused = status.refusal() != null;
        boolean due = checkpointEvery > 0 && step % checkpointEvery == 0;
        if ((due || finished || refused || status.stopping()) && step > 0 && !checkpoints.isLastOf(step)) {
            if (stopUnsaved) {
                ending.stopped();
            } else if (checkpoints.pause().mayTry(now)) {
                checkpoints.begin(step);
            }
        } else if (refused) {
            ending.paused(status.refusal());
        } else if (finished && step == 0) {
            ending.done("nothing to do: 0 steps");
        } else if (finished) {
            export.begin(checkpoints.last(), now);
        } else if (status.stopping()) {
            ending.stopped();
        } else if (scaling.isDue()) {
            ready.begin();
            status.enter(RunState.RESIZING, "state moves to " + wanted.count() + " workers", now);
            members.resize(wanted.count(), checkpoints.last(), status.training());
        } else if (steps.mayBegin(now)) {
            steps.begin(step + 1, now);
        }
    }

    /** The model is all that is missing. Whoever stops the run while there is no space for it can have it later. */
    private void finish(long now) {
        if (status.stopping() && export.pause().isOn() && !export.underWay()) {
            ending.stopped();
        } else {
            export.goOn(checkpoints.last(), now);
        }
    }

    @Override
    public String toString() {
        return status.state() + " generation " + members.generation() + " ranks " + members.ranks();
    }
}
