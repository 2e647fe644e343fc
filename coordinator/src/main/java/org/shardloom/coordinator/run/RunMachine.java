package org.shardloom.coordinator.run;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.ExportFinal;
import org.shardloom.protocol.message.WorkerMessage.Leave;
import org.shardloom.protocol.message.WorkerMessage.RunStep;
import org.shardloom.protocol.message.WorkerMessage.SaveCheckpoint;

/**
 * The run's state machine: takes events with the time they happened at, gives the effects that follow. It knows no actor, no clock
 * and no file, so a whole cluster's life can be tested in one thread. States and transitions are in {@link RunState}.
 *
 * <p>Membership changes only between steps, or when a worker is lost; each change starts a new generation. Whatever goes wrong
 * before a step is done that was never done before is a setback, but for the loss of a worker that has proved itself: such a
 * worker can be lost only once. A run with too many setbacks fails.
 */
public final class RunMachine {
    private static final long RETRY_NO_SPACE_MILLIS = 5000;
    /** Losses that belong together come this close to each other. */
    private static final long LOSS_SETTLE_MILLIS = 200;
    /** Survivors often fail before their peer's loss is noticed; doubles with every setback, and a loss cuts it short. */
    private static final long FAILURE_SETTLE_MILLIS = 1000;

    private static final int MOST_SETBACKS = 5;
    private final RunSettings settings;
    private final Roster roster = new Roster();
    private final WantedWorkers wanted;
    private final CheckpointProgress checkpoint;
    private final Map<Integer, CoordinatorMessage> answers = new HashMap<>();
    private final List<Effect> effects = new ArrayList<>();
    private final Membership members = new Membership(roster, effects::add);
    private RunState state = RunState.ASSEMBLING;
    private String detail = "waiting for workers";
    private long stateSince;
    private TrainingState training = TrainingState.START;
    private long furthestStep = -1;
    private long totalSteps;
    private double loss = Double.NaN;
    private boolean stepping;
    private long stepStarted;
    private long nextStepAt;
    private int setbacks;
    private long assembleAt;
    private boolean stopping;

    /** A machine of a run that has not begun. */
    public RunMachine(RunSettings settings) {
        this.settings = settings;
        this.wanted = new WantedWorkers(settings.workers(), effects::add);
        this.checkpoint = new CheckpointProgress(settings.resume());
    }

    /** Begins the run: asks for the first workers. */
    public List<Effect> start(long now) {
        stateSince = now;
        assembleAt = now;
        nextStepAt = now;
        members.launchMissing(wanted.count());
        return drain();
    }

    /** A worker has proved that it belongs to the run. */
    public List<Effect> registered(WorkerInfo worker, long now) {
        if (state.isFinal()) {
            effects.add(new Effect.Tell(worker.id(), new Leave("the run has ended")));
        } else if (!roster.has(worker.id())) {
            roster.register(worker);
            if (waiting()) {
                detail = roster.size() + " of " + wanted.count() + " workers";
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
        boolean known = roster.remove(id);
        if (!known || state.isFinal()) {
            return drain();
        }
        effects.add(new Effect.Kill(id));
        if (waiting()) {
            lostWhileWaiting(id, reason, now);
        } else if (!members.contains(id)) {
            notice(true, "worker " + id + " ended before it could take part: " + reason);
            if (members.expected() < wanted.count()) {
                giveUpScaling("the new worker ended before it could take part: " + reason);
            }
        } else if (members.leaving().contains(id) && answers.containsKey(id)) {
            members.forget(id);
        } else {
            notice(true, "worker " + id + " (rank " + members.ranks().indexOf(id) + ") was lost: " + reason);
            if (state == RunState.FINISHING && members.size() > 1) {
                boolean wasWriting = members.first() == id;
                members.forget(id);
                if (wasWriting) {
                    export();
                }
            } else {
                recover("worker " + id + " was lost", !roster.proven(id), LOSS_SETTLE_MILLIS, now);
            }
        }
        return goOn(now);
    }

    private void lostWhileWaiting(int id, String reason, long now) {
        boolean newcomer = roster.newcomer(id);
        notice(true, "worker " + id + (newcomer ? " ended before it could take part: " : " was lost too: ") + reason);
        if (newcomer) {
            setbacks++;
        }
        if (state == RunState.ASSEMBLING) {
            if (setbacks > MOST_SETBACKS || (!settings.allowReplacement() && roster.expected() < wanted.count())) {
                giveUp("workers keep ending before they can take part: " + reason);
                return;
            }
        } else {
            assembleAt = now + LOSS_SETTLE_MILLIS;
            if (setbacks > MOST_SETBACKS) {
                if (roster.size() < leastWorkers()) {
                    giveUp("replacements keep ending before they can take part: " + reason);
                    return;
                }
                wanted.lower(roster.size(), "new workers keep ending before they can take part: " + reason);
            }
        }
        replaceLost(reason);
    }

    /** A worker could not do what it was told. */
    public List<Effect> failed(WorkerFailed failure, long now) {
        int id = failure.workerId();
        boolean unprepared = failure.generation() < 0;
        if (state.isFinal() || !roster.has(id) || (!unprepared && failure.generation() != members.generation())) {
            return drain();
        }
        if (unprepared && roster.anyProven()) {
            effects.add(new Effect.Tell(id, new Leave(failure.message())));
            return lost(id, failure.message(), now);
        }
        if (failure.fatal()) {
            return fail(failure.message());
        }
        if (!waiting()) {
            notice(true, "worker " + id + ": " + failure.message());
            recover("worker " + id + " failed", true, FAILURE_SETTLE_MILLIS << Math.min(setbacks, MOST_SETBACKS), now);
        }
        return drain();
    }

    /** A worker has what the generation's steps need, or has handed over what it had. */
    public List<Effect> ready(Ready ready, long now) {
        if (ready.generation() != members.generation() || (state != RunState.LOADING && state != RunState.RESIZING)) {
            return drain();
        }
        answers.put(ready.workerId(), ready);
        if (!answers.keySet().containsAll(members.ranks()) || !answers.keySet().containsAll(members.leaving())) {
            return drain();
        }
        Ready first = (Ready) answers.get(members.first());
        totalSteps = first.totalSteps();
        training = first.state();
        members.dismissLeaving();
        if (state == RunState.LOADING) {
            checkpoint.loaded(training.step());
            furthestStep = Math.max(furthestStep, training.step());
            notice(false, first.summary());
        }
        notice(
                false,
                (training.step() == 0 ? "training" : "training goes on after step " + training.step()) + " with "
                        + members.size() + (members.size() == 1 ? " worker" : " workers") + " (generation "
                        + members.generation()
                        + ")");
        enter(RunState.TRAINING, stopping ? "stopping" : "", now);
        if (wanted.count() == members.size()) {
            wanted.answer(null);
        }
        return goOn(now);
    }

    /** A rank has done its part of the step. */
    public List<Effect> stepDone(StepDone done, long now) {
        if (done.generation() != members.generation() || state != RunState.TRAINING || !stepping) {
            return drain();
        }
        answers.put(done.workerId(), done);
        if (!answers.keySet().containsAll(members.ranks())) {
            return drain();
        }
        List<StepReport> reports = members.ranks().stream()
                .map(id -> ((StepDone) answers.get(id)).report())
                .toList();
        training = ((StepDone) answers.get(members.first())).state();
        double seconds = (now - stepStarted) / 1000.0;
        StepMetrics metrics = StepMetrics.of(training.step(), totalSteps, members.generation(), seconds, reports);
        loss = metrics.loss();
        stepping = false;
        if (training.step() > furthestStep) {
            furthestStep = training.step();
            setbacks = 0;
            roster.prove(members.ranks());
        }
        nextStepAt = stepStarted + Math.round(settings.minStepSeconds() * 1000);
        effects.add(new Effect.PublishStep(metrics));
        return goOn(now);
    }

    /** The directory is there: workers may write. */
    public List<Effect> checkpointPrepared(long step, String directory, long now) {
        if (checkpoint.prepared(step)) {
            if (state == RunState.TRAINING) {
                members.ranks()
                        .forEach(id -> effects.add(
                                new Effect.Tell(id, new SaveCheckpoint(members.generation(), step, directory))));
            } else {
                checkpoint.failed();
                effects.add(new Effect.DiscardCheckpoint(step));
            }
        }
        return goOn(now);
    }

    /** A rank's shard is on disk. */
    public List<Effect> shardWritten(ShardWritten shard, long now) {
        return shard.generation() == members.generation()
                ? shardAnswered(checkpoint.answered(shard.workerId(), shard.step(), shard, members.ranks()), now)
                : drain();
    }

    /** A rank could not write its shard. */
    public List<Effect> shardFailed(ShardFailed failure, long now) {
        if (failure.generation() != members.generation()) {
            return drain();
        }
        if (!failure.noSpace()) {
            return checkpointFailed(failure.step(), false, failure.message(), now);
        }
        return shardAnswered(checkpoint.answered(failure.workerId(), failure.step(), failure, members.ranks()), now);
    }

    /** The attempt ends when no rank writes any more: a late shard must not meet the next attempt. */
    private List<Effect> shardAnswered(boolean all, long now) {
        ShardFailed failure = checkpoint.failure();
        if (all && failure != null) {
            return checkpointFailed(failure.step(), failure.noSpace(), failure.message(), now);
        }
        if (all) {
            effects.add(new Effect.CommitCheckpoint(training, loss, members.size(), checkpoint.commit()));
        }
        return drain();
    }

    /** The coordinator could not make the directory or commit; or a worker could not write. */
    public List<Effect> checkpointFailed(long step, boolean noSpace, String message, long now) {
        if (!checkpoint.inHand(step) || state.isFinal()) {
            return drain();
        }
        checkpoint.failed();
        effects.add(new Effect.DiscardCheckpoint(step));
        if (state == RunState.TRAINING && !noSpace) {
            return fail("checkpoint of step " + step + " failed: " + message);
        }
        if (state == RunState.TRAINING) {
            detail = "paused: " + message;
            if (checkpoint.pauseUntil(now + RETRY_NO_SPACE_MILLIS)) {
                notice(true, "paused after step " + step + ": " + message + ". The run goes on when there is space");
            }
        }
        return goOn(now);
    }

    /** A checkpoint has its final name. */
    public List<Effect> checkpointCommitted(long step, String directory, long now) {
        if (checkpoint.committed(step, directory) && !state.isFinal()) {
            detail = stopping ? "stopping" : "";
            notice(false, "there is space again; the run goes on");
        }
        return goOn(now);
    }

    /** The trained model is written. */
    public List<Effect> exported(Exported exported, long now) {
        if (exported.generation() == members.generation() && state == RunState.FINISHING) {
            end(
                    true,
                    "done: " + training.step() + " steps, loss " + String.format("%.4f", loss) + ", model in "
                            + exported.directory());
        }
        return drain();
    }

    /**
     * People want another number of workers.
     *
     * @param request comes back in the {@link Effect.AnswerScale}, of which there is one for each request
     */
    public List<Effect> scale(long request, int count, long now) {
        if (state.isFinal() || state == RunState.FINISHING || stopping) {
            effects.add(new Effect.AnswerScale(request, "the run is ending"));
            return drain();
        }
        if (count < leastWorkers()) {
            effects.add(new Effect.AnswerScale(
                    request, "the run needs " + leastWorkers() + " workers (cluster.min_workers), not " + count));
            return drain();
        }
        wanted.ask(request, count, now);
        members.launchMissing(wanted.count());
        if (!waiting()) {
            members.dismissSurplus(wanted.count());
        }
        if (state == RunState.TRAINING && members.size() == wanted.count()) {
            wanted.answer(null);
        }
        return goOn(now);
    }

    /** Stop at the next step boundary, with a checkpoint; or at once. */
    public List<Effect> stop(boolean immediately, long now) {
        boolean idle = state == RunState.ASSEMBLING || state == RunState.PLANNING || state == RunState.LOADING;
        if (state.isFinal()) {
            return drain();
        }
        if (immediately || idle) {
            end(true, stopped());
        } else if (state != RunState.FINISHING) {
            stopping = true;
            detail = "stopping";
        }
        return goOn(now);
    }

    /** Time passes; call a few times a second. */
    public List<Effect> tick(long now) {
        boolean missing = roster.size() < wanted.count();
        String came = "only " + roster.size() + " of " + wanted.count() + " workers came within "
                + settings.joinTimeoutMillis() / 1000 + " s";
        if (waiting() && missing && now - stateSince > settings.joinTimeoutMillis()) {
            if (roster.size() < leastWorkers()) {
                return fail(came);
            }
            notice(true, came + "; going on with them");
            wanted.lower(roster.size(), came);
        } else if (state == RunState.TRAINING && missing && now - wanted.since() > settings.joinTimeoutMillis()) {
            giveUpScaling(came);
        }
        return goOn(now);
    }

    /** Something that the run cannot go on without failed. */
    public List<Effect> fail(String message) {
        if (!state.isFinal()) {
            giveUp(message);
        }
        return drain();
    }

    /** The run as people see it. */
    public RunView view() {
        List<WorkerInfo> list = roster.infos().stream()
                .sorted(Comparator.comparingInt((WorkerInfo w) -> w.rank() < 0 ? Integer.MAX_VALUE : w.rank())
                        .thenComparingInt(WorkerInfo::id))
                .toList();
        return new RunView(
                state, detail, training.step(), totalSteps, loss, members.generation(), wanted.count(), list);
    }

    private boolean waiting() {
        return state == RunState.ASSEMBLING || state == RunState.RECOVERING;
    }

    private int leastWorkers() {
        return Math.max(1, settings.minWorkers());
    }

    private List<Effect> goOn(long now) {
        assembleIfComplete(now);
        boundary(now);
        return drain();
    }

    /** Everything that may happen between steps, in order of urgency; nothing in other states. */
    private void boundary(long now) {
        if (state != RunState.TRAINING || stepping || !checkpoint.idle()) {
            return;
        }
        long step = training.step();
        boolean finished = step >= totalSteps;
        boolean due = settings.checkpointEvery() > 0 && step % settings.checkpointEvery() == 0;
        if ((due || finished || stopping) && step > 0 && !checkpoint.isLastOf(step)) {
            if (checkpoint.mayTry(now)) {
                checkpoint.begin(step);
                effects.add(new Effect.PrepareCheckpoint(step));
            }
        } else if (finished && step == 0) {
            end(true, "nothing to do: 0 steps");
        } else if (finished) {
            enter(RunState.FINISHING, "writing the model", now);
            export();
        } else if (stopping) {
            end(true, stopped());
        } else if (wanted.count() < members.size()
                || (wanted.count() > members.size() && roster.size() >= wanted.count())) {
            answers.clear();
            enter(RunState.RESIZING, "state moves to " + wanted.count() + " workers", now);
            members.resize(wanted.count(), checkpoint.last(), training);
        } else if (now >= nextStepAt) {
            stepping = true;
            stepStarted = now;
            answers.clear();
            members.ranks()
                    .forEach(id -> effects.add(new Effect.Tell(id, new RunStep(members.generation(), step + 1))));
        }
    }

    private void export() {
        ExportFinal order = new ExportFinal(members.generation(), checkpoint.last(), settings.outputDir() + "/final");
        effects.add(new Effect.Tell(members.first(), order));
    }

    /** Once all have come, losses have settled and no file work is under way, a waiting run loads what it has. */
    private void assembleIfComplete(long now) {
        if (!waiting() || checkpoint.filesBusy()) {
            return;
        }
        if (stopping) {
            end(true, stopped());
        } else if (roster.size() >= wanted.count() && now >= assembleAt) {
            enter(RunState.PLANNING, "", now);
            answers.clear();
            enter(RunState.LOADING, "workers load model and data", now);
            members.assemble(wanted.count(), checkpoint.last(), training);
        }
    }

    /** Gives the generation up and waits, for other losses to show and for replacements; then loads the last checkpoint. */
    private void recover(String why, boolean setback, long settleMillis, long now) {
        if (setback && ++setbacks > MOST_SETBACKS) {
            giveUp(why + "; " + MOST_SETBACKS + " setbacks without a new step in between");
            return;
        }
        members.abort(why);
        if (checkpoint.abandon()) {
            effects.add(new Effect.DiscardCheckpoint(checkpoint.step()));
        }
        stepping = false;
        members.dissolve();
        enter(RunState.RECOVERING, why, now);
        assembleAt = now + settleMillis;
        replaceLost(why);
    }

    private void replaceLost(String why) {
        if (settings.allowReplacement()) {
            members.launchMissing(wanted.count());
        } else {
            wanted.lower(Math.max(leastWorkers(), roster.expected()), why);
        }
    }

    /** The number that was asked for is out of reach: the run keeps what it has. */
    private void giveUpScaling(String why) {
        wanted.lower(members.size(), why);
        members.dismissSurplus(wanted.count());
    }

    private String stopped() {
        return "stopped at step " + training.step()
                + (checkpoint.last() == null
                        ? ", no checkpoint"
                        : ", last checkpoint " + checkpoint.last() + "; --resume latest goes on");
    }

    private void giveUp(String message) {
        members.abort(message);
        end(false, message);
    }

    private void end(boolean success, String message) {
        wanted.answer("the run has ended: " + message);
        if (checkpoint.abandon()) {
            effects.add(new Effect.DiscardCheckpoint(checkpoint.step()));
        }
        roster.ids().forEach(id -> effects.add(new Effect.Tell(id, new Leave("the run has ended"))));
        roster.launching().forEach(id -> effects.add(new Effect.Kill(id)));
        state = success ? RunState.DONE : RunState.FAILED;
        detail = message;
        effects.add(new Effect.End(success, message));
    }

    private void enter(RunState next, String why, long now) {
        state = next;
        detail = why;
        stateSince = now;
    }

    private void notice(boolean warning, String text) {
        effects.add(new Effect.Notice(warning, text));
    }

    private List<Effect> drain() {
        List<Effect> result = List.copyOf(effects);
        effects.clear();
        return result;
    }

    @Override
    public String toString() {
        return state + " generation " + members.generation() + " ranks " + members.ranks();
    }
}
