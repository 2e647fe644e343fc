package org.shardloom.coordinator.run;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.AbortGeneration;
import org.shardloom.protocol.message.WorkerMessage.ExportFinal;
import org.shardloom.protocol.message.WorkerMessage.Leave;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.RunStep;
import org.shardloom.protocol.message.WorkerMessage.SaveCheckpoint;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;

/**
 * The run's state machine: takes events with the time they happened at, gives the effects that follow. It knows no actor, no clock
 * and no file, so a whole cluster's life can be tested in one thread. States and transitions are in {@link RunState}.
 *
 * <p>Membership changes only between steps, or when a worker is lost; each change starts a new generation.
 */
public final class RunMachine {
    private static final long RETRY_NO_SPACE_MILLIS = 5000;
    private static final int MOST_RECOVERIES_WITHOUT_PROGRESS = 5;
    private final RunSettings settings;
    private final Map<Integer, WorkerInfo> workers = new TreeMap<>();
    private final Set<Integer> launching = new HashSet<>();
    private final Map<Integer, Object> answers = new HashMap<>();
    private final List<Effect> effects = new ArrayList<>();
    private RunState state = RunState.ASSEMBLING;
    private String detail = "waiting for workers";
    private long generation;
    private List<Integer> ranks = List.of();
    private TrainingState training = TrainingState.START;
    private String lastCheckpoint;
    private long lastCheckpointStep = -1;
    private int wanted;
    private boolean scaleAnswerDue;
    private boolean stopping;
    private long totalSteps;
    private double loss = Double.NaN;
    private long stepStarted;
    private long stateSince;
    private long nextStepAt;
    private long retryCheckpointAt = -1;
    private boolean checkpointing;
    private boolean stepping;
    private int nextWorkerId;
    private int recoveriesWithoutProgress;
    private List<Integer> leaving = List.of();

    public RunMachine(RunSettings settings) {
        this.settings = settings;
        this.wanted = settings.workers();
        this.lastCheckpoint = settings.resume();
    }

    /** Begins the run: asks for the first workers. */
    public List<Effect> start(long now) {
        stateSince = now;
        launchMissing();
        return drain();
    }

    /** A worker has proved that it belongs to the run. Returns effects; its id is {@code id}. */
    public List<Effect> registered(WorkerInfo worker, long now) {
        launching.remove(worker.id());
        workers.put(worker.id(), worker.withRank(-1));
        nextWorkerId = Math.max(nextWorkerId, worker.id() + 1);
        if (state == RunState.ASSEMBLING || state == RunState.RECOVERING) {
            detail = workers.size() + " of " + wanted + " workers";
            assembleIfComplete(now);
        } else if (state == RunState.TRAINING) {
            boundary(now);
        }
        return drain();
    }

    /** A number for a worker that was started by hand; the run grows when it makes more than are wanted. */
    public int newWorkerId() {
        int id = nextWorkerId++;
        return id;
    }

    /** Someone joins by hand: the run wants one more than it has when nobody is missing. */
    public void joinedByHand() {
        if (workers.size() + launching.size() >= wanted) {
            wanted++;
        }
    }

    /** A worker process ended, or its node was removed from the cluster. */
    public List<Effect> lost(int id, String reason, long now) {
        boolean wasLaunching = launching.remove(id);
        WorkerInfo worker = workers.remove(id);
        if (state.isFinal() || (worker == null && !wasLaunching)) {
            return drain();
        }
        if (leaving.contains(id) && worker != null && worker.rank() < 0) {
            return drain();
        }
        effects.add(new Effect.Kill(id));
        if (wasLaunching) {
            recoveriesWithoutProgress++;
            notice(true, "worker " + id + " ended before it could take part: " + reason);
            if (recoveriesWithoutProgress > MOST_RECOVERIES_WITHOUT_PROGRESS
                    || (state == RunState.ASSEMBLING && !settings.allowReplacement())) {
                return fail("workers keep ending before they can take part: " + reason);
            }
            if (state == RunState.ASSEMBLING || state == RunState.RECOVERING) {
                launchMissing();
            } else {
                wanted = Math.max(1, workers.size());
                answerScale("the new worker ended before it could take part: " + reason);
            }
            return drain();
        }
        if (worker.rank() < 0 && state == RunState.TRAINING) {
            notice(true, "worker " + id + " was lost (" + reason + ")");
            return drain();
        }
        notice(true, "worker " + id + " (rank " + worker.rank() + ") was lost: " + reason);
        recover("worker " + id + " was lost", now);
        return drain();
    }

    /** A worker could not do what it was told. */
    public List<Effect> failed(WorkerFailed failure, long now) {
        if (state.isFinal() || (failure.generation() != generation && failure.generation() >= 0)) {
            return drain();
        }
        if (failure.fatal()) {
            return fail(failure.message());
        }
        if (state == RunState.RECOVERING) {
            return drain();
        }
        notice(true, "worker " + failure.workerId() + ": " + failure.message());
        recover("worker " + failure.workerId() + " failed", now);
        return drain();
    }

    public List<Effect> ready(Ready ready, long now) {
        if (ready.generation() != generation || (state != RunState.LOADING && state != RunState.RESIZING)) {
            return drain();
        }
        answers.put(ready.workerId(), ready);
        if (!answers.keySet().containsAll(ranks) || !answers.keySet().containsAll(leaving)) {
            return drain();
        }
        totalSteps = ((Ready) answers.get(ranks.get(0))).totalSteps();
        training = ((Ready) answers.get(ranks.get(0))).state();
        for (int id : leaving) {
            effects.add(new Effect.Tell(id, new Leave("the run goes on with " + ranks.size() + " workers")));
            WorkerInfo left = workers.get(id);
            if (left != null) {
                workers.put(id, left.withRank(-1));
            }
        }
        if (state == RunState.LOADING) {
            lastCheckpointStep = lastCheckpoint == null ? -1 : training.step();
            notice(false, ready.summary());
        }
        notice(
                false,
                (training.step() == 0 ? "training" : "training goes on after step " + training.step()) + " with "
                        + ranks.size() + (ranks.size() == 1 ? " worker" : " workers") + " (generation " + generation
                        + ")");
        enter(RunState.TRAINING, "", now);
        if (wanted == ranks.size()) {
            answerScale(null);
        }
        for (int id : leaving) {
            workers.remove(id);
        }
        boundary(now);
        return drain();
    }

    public List<Effect> stepDone(StepDone done, long now) {
        if (done.generation() != generation || state != RunState.TRAINING || !stepping) {
            return drain();
        }
        answers.put(done.workerId(), done);
        if (!answers.keySet().containsAll(ranks)) {
            return drain();
        }
        List<StepReport> reports =
                ranks.stream().map(id -> ((StepDone) answers.get(id)).report()).toList();
        training = ((StepDone) answers.get(ranks.get(0))).state();
        double seconds = (now - stepStarted) / 1000.0;
        StepMetrics metrics = StepMetrics.of(training.step(), totalSteps, generation, seconds, reports);
        loss = metrics.loss();
        stepping = false;
        recoveriesWithoutProgress = 0;
        nextStepAt = stepStarted + Math.round(settings.minStepSeconds() * 1000);
        effects.add(new Effect.PublishStep(metrics));
        boundary(now);
        return drain();
    }

    public List<Effect> shardWritten(ShardWritten shard, long now) {
        if (shard.generation() != generation || !checkpointing) {
            return drain();
        }
        answers.put(shard.workerId(), shard);
        if (answers.keySet().containsAll(ranks) && answers.values().stream().allMatch(a -> a instanceof ShardWritten)) {
            List<ShardWritten> shards = answers.values().stream()
                    .map(a -> (ShardWritten) a)
                    .sorted(Comparator.comparingInt(ShardWritten::rank))
                    .toList();
            effects.add(new Effect.CommitCheckpoint(training, loss, ranks.size(), shards));
        }
        return drain();
    }

    public List<Effect> shardFailed(ShardFailed failure, long now) {
        if (failure.generation() != generation || !checkpointing) {
            return drain();
        }
        return checkpointFailed(failure.step(), failure.noSpace(), failure.message(), now);
    }

    /** The coordinator could not make the directory or commit; or a worker could not write. */
    public List<Effect> checkpointFailed(long step, boolean noSpace, String message, long now) {
        if (!checkpointing || state.isFinal()) {
            return drain();
        }
        checkpointing = false;
        effects.add(new Effect.DiscardCheckpoint(step));
        if (!noSpace) {
            return fail("checkpoint of step " + step + " failed: " + message);
        }
        if (retryCheckpointAt < 0) {
            notice(
                    true,
                    "paused after step " + step + ": " + message + ". Free some space and the run goes on by itself");
        }
        detail = "paused: " + message;
        retryCheckpointAt = now + RETRY_NO_SPACE_MILLIS;
        return drain();
    }

    /** A checkpoint has its final name. */
    public List<Effect> checkpointCommitted(long step, String directory, long now) {
        lastCheckpoint = directory;
        lastCheckpointStep = step;
        if (!checkpointing || state.isFinal()) {
            return drain();
        }
        checkpointing = false;
        if (retryCheckpointAt >= 0) {
            retryCheckpointAt = -1;
            detail = "";
            notice(false, "there is space again; the run goes on");
        }
        boundary(now);
        return drain();
    }

    public List<Effect> exported(Exported exported, long now) {
        if (exported.generation() == generation && state == RunState.FINISHING) {
            end(
                    true,
                    "done: " + training.step() + " steps, loss " + String.format("%.4f", loss) + ", model in "
                            + exported.directory());
        }
        return drain();
    }

    /** People want another number of workers. */
    public List<Effect> scale(int count, long now) {
        if (state.isFinal() || state == RunState.FINISHING || stopping) {
            effects.add(new Effect.AnswerScale(count, "the run is ending"));
            return drain();
        }
        if (scaleAnswerDue) {
            answerScale("replaced by a later request for " + count);
        }
        wanted = count;
        scaleAnswerDue = true;
        launchMissing();
        if (state == RunState.TRAINING) {
            if (ranks.size() == wanted) {
                answerScale(null);
            }
            boundary(now);
        } else if (state == RunState.ASSEMBLING || state == RunState.RECOVERING) {
            assembleIfComplete(now);
        }
        return drain();
    }

    /** Stop at the next step boundary, with a checkpoint; or at once. */
    public List<Effect> stop(boolean immediately, long now) {
        if (state.isFinal()) {
            return drain();
        }
        if (immediately || (state != RunState.TRAINING && state != RunState.RESIZING && state != RunState.FINISHING)) {
            end(
                    true,
                    "stopped at step " + training.step()
                            + (lastCheckpointStep >= 0
                                    ? ", last checkpoint at step " + lastCheckpointStep
                                    : ", no checkpoint"));
            return drain();
        }
        if (!stopping && state != RunState.FINISHING) {
            stopping = true;
            detail = "stopping";
            if (state == RunState.TRAINING) {
                boundary(now);
            }
        }
        return drain();
    }

    /** Time passes; call a few times a second. */
    public List<Effect> tick(long now) {
        if ((state == RunState.ASSEMBLING || state == RunState.RECOVERING)
                && now - stateSince > settings.joinTimeoutMillis()) {
            if (workers.size() >= settings.minWorkers()) {
                notice(true, "going on with " + workers.size() + " of " + wanted + " workers: the others did not come");
                wanted = workers.size();
                assembleIfComplete(now);
            } else {
                return fail("only " + workers.size() + " of " + wanted + " workers came within "
                        + settings.joinTimeoutMillis() / 1000 + " s");
            }
        }
        if (state == RunState.TRAINING) {
            boundary(now);
        }
        return drain();
    }

    /** Something that the run cannot go on without failed. */
    public List<Effect> fail(String message) {
        if (!state.isFinal()) {
            abort(message);
            end(false, message);
        }
        return drain();
    }

    public RunView view() {
        List<WorkerInfo> list = workers.values().stream()
                .sorted(Comparator.comparingInt((WorkerInfo w) -> w.rank() < 0 ? Integer.MAX_VALUE : w.rank())
                        .thenComparingInt(WorkerInfo::id))
                .toList();
        return new RunView(state, detail, training.step(), totalSteps, loss, generation, wanted, list);
    }

    /** Everything that may happen between steps, in order of urgency. */
    private void boundary(long now) {
        if (state != RunState.TRAINING || stepping || checkpointing) {
            return;
        }
        long step = training.step();
        boolean finished = step >= totalSteps;
        boolean due = settings.checkpointEvery() > 0 && step > 0 && step % settings.checkpointEvery() == 0;
        if ((due || finished || stopping) && step > 0 && lastCheckpointStep != step) {
            if (now >= retryCheckpointAt) {
                checkpointing = true;
                answers.clear();
                effects.add(new Effect.PrepareCheckpoint(step));
            }
        } else if (stopping && !finished) {
            end(true, "stopped at step " + step + "; --resume latest goes on");
        } else if (finished) {
            if (lastCheckpoint == null) {
                end(true, "nothing to do: 0 steps");
                return;
            }
            enter(RunState.FINISHING, "writing the model", now);
            effects.add(new Effect.Tell(
                    ranks.get(0), new ExportFinal(generation, lastCheckpoint, settings.outputDir() + "/final")));
        } else if (resizeWanted()) {
            resize(now);
        } else if (now >= nextStepAt) {
            stepping = true;
            stepStarted = now;
            answers.clear();
            ranks.forEach(id -> effects.add(new Effect.Tell(id, new RunStep(generation, step + 1))));
        }
    }

    /** The directory is there: workers may write. */
    public List<Effect> checkpointPrepared(long step, String directory) {
        if (checkpointing) {
            ranks.forEach(id -> effects.add(new Effect.Tell(id, new SaveCheckpoint(generation, step, directory))));
        }
        return drain();
    }

    private boolean resizeWanted() {
        int available = workers.size();
        return ranks.size() != Math.min(wanted, available) && (wanted < ranks.size() || available >= wanted);
    }

    /** Old members keep their order; the last ones leave, new ones come after. */
    private void resize(long now) {
        List<Integer> next = new ArrayList<>(ranks.subList(0, Math.min(wanted, ranks.size())));
        workers.keySet().stream()
                .filter(id -> !ranks.contains(id))
                .limit(wanted - next.size())
                .forEach(next::add);
        List<Integer> before = ranks;
        leaving = before.stream().filter(id -> !next.contains(id)).toList();
        Set<Integer> all = new HashSet<>(before);
        all.addAll(next);
        begin(RunState.RESIZING, Origin.RESHARD, next, before, all, now);
    }

    private void assembleIfComplete(long now) {
        if (workers.size() < wanted) {
            return;
        }
        enter(RunState.PLANNING, "", now);
        List<Integer> next = workers.keySet().stream().limit(wanted).toList();
        leaving = List.of();
        begin(
                RunState.LOADING,
                lastCheckpoint == null ? Origin.START : Origin.CHECKPOINT,
                next,
                List.of(),
                new HashSet<>(next),
                now);
    }

    private void begin(
            RunState next,
            Origin origin,
            List<Integer> newRanks,
            List<Integer> oldRanks,
            Set<Integer> involved,
            long now) {
        generation++;
        ranks = newRanks;
        answers.clear();
        stepping = false;
        checkpointing = false;
        List<Member> members = involved.stream()
                .sorted()
                .map(workers::get)
                .map(w -> new Member(w.id(), w.host(), w.hostKey(), oldRanks.indexOf(w.id()), newRanks.indexOf(w.id())))
                .toList();
        workers.replaceAll((id, w) -> w.withRank(newRanks.indexOf(id)));
        enter(
                next,
                next == RunState.LOADING
                        ? "workers load model and data"
                        : "state moves to " + newRanks.size() + " workers",
                now);
        for (Member member : members) {
            effects.add(new Effect.Tell(
                    member.workerId(), new StartGeneration(generation, origin, members, lastCheckpoint, training)));
        }
    }

    private void recover(String why, long now) {
        if (++recoveriesWithoutProgress > MOST_RECOVERIES_WITHOUT_PROGRESS) {
            fail(why + "; " + MOST_RECOVERIES_WITHOUT_PROGRESS + " recoveries without a step in between");
            return;
        }
        abort(why);
        if (checkpointing) {
            effects.add(new Effect.DiscardCheckpoint(training.step()));
        }
        checkpointing = false;
        stepping = false;
        generation++;
        ranks = List.of();
        leaving = List.of();
        workers.replaceAll((id, w) -> w.withRank(-1));
        if (!settings.allowReplacement()) {
            wanted = Math.max(settings.minWorkers(), workers.size());
        }
        enter(RunState.RECOVERING, why, now);
        launchMissing();
        assembleIfComplete(now);
    }

    private void abort(String reason) {
        for (int id : ranks) {
            if (workers.containsKey(id)) {
                effects.add(new Effect.Tell(id, new AbortGeneration(generation, reason)));
            }
        }
    }

    private void launchMissing() {
        while (workers.size() + launching.size() < wanted) {
            int id = nextWorkerId++;
            launching.add(id);
            effects.add(new Effect.Launch(id));
        }
    }

    private void answerScale(String error) {
        if (scaleAnswerDue) {
            scaleAnswerDue = false;
            effects.add(new Effect.AnswerScale(wanted, error));
        }
    }

    private void end(boolean success, String message) {
        answerScale("the run has ended: " + message);
        workers.keySet().forEach(id -> effects.add(new Effect.Tell(id, new Leave("the run has ended"))));
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
        return state + " generation " + generation + " ranks "
                + ranks.stream().map(String::valueOf).collect(Collectors.joining(","));
    }
}
