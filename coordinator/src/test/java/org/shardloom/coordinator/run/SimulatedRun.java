package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.function.LongFunction;
import java.util.function.LongToDoubleFunction;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;

/**
 * A whole run in one thread and virtual time: the machine under test, {@link SimulatedWorker}s, a file system, a network that keeps
 * the order between two ends, and faults. Checks what must always hold while it runs.
 */
final class SimulatedRun {
    static final String OUT = "/out";
    final RunMachine machine;
    final RunSettings settings;
    final Random random;
    final long totalSteps;
    final Map<Integer, SimulatedWorker> workers = new TreeMap<>();
    final List<StepMetrics> published = new ArrayList<>();
    final List<String> notices = new ArrayList<>();
    final List<StartGeneration> generations = new ArrayList<>();
    final List<RunState> states = new ArrayList<>();
    final Map<Long, String> scaleAnswers = new HashMap<>();
    final Map<String, SimulatedGroup> groups = new HashMap<>();
    final Timeline timeline;
    final SimulatedDisk disk;
    private final RunInvariants invariants;
    Effect.End end;
    /** Knobs. */
    int launchesToFail;

    /** The step that workers will not take; 0 for none. */
    long refusedStep;

    /** The step whose update workers leave out; 0 for none. */
    long leftOutStep;

    /** Learning rate of a step. */
    LongToDoubleFunction learningRate = step -> 1e-4;

    /** Gradient norm of every step. */
    double gradNorm = 1;

    /** Loss of the evaluation after a step; null: none. */
    LongFunction<Double> evaluated = step -> null;

    boolean hangLaunches;
    int hangLaunchesAfter = Integer.MAX_VALUE;
    long endedAt;
    double launchFailures;
    long detectMillis = 20;
    long survivorMillis = 30;
    long stepMillis = 40;

    private final Set<Integer> registered = new HashSet<>();
    private final Map<Long, Integer> wishes = new HashMap<>();
    private long requests;

    SimulatedRun(RunSettings settings, long totalSteps, long seed) {
        this.settings = settings;
        this.totalSteps = totalSteps;
        this.random = new Random(seed);
        this.machine = new RunMachine(settings);
        this.timeline = new Timeline(random);
        this.invariants = new RunInvariants(this);
        this.disk = new SimulatedDisk(this, settings.resume());
    }

    static RunSettings settings(int workers, boolean replacement, long every) {
        return new RunSettings(workers, 1, replacement, every, 0, 10_000, OUT, null);
    }

    SimulatedRun begin() {
        apply(time -> machine.start(time));
        tick();
        return this;
    }

    private void tick() {
        if (end == null) {
            apply(time -> machine.tick(time));
            after(100, "tick", this::tick);
        }
    }

    long now() {
        return timeline.now();
    }

    RunState state() {
        return machine.view().state();
    }

    long step() {
        return machine.view().step();
    }

    /** Something happens later. */
    void after(long millis, String what, Runnable action) {
        timeline.after(millis, what, action);
    }

    /** A message from one end to another; later ones on the same way do not overtake it. */
    void send(String way, String what, Runnable action) {
        timeline.send(way, what, action);
    }

    /** Tells the machine something and does what it wants. */
    void apply(LongFunction<List<Effect>> event) {
        for (Effect effect : event.apply(now())) {
            perform(effect);
        }
        RunState state = state();
        if (states.isEmpty() || states.get(states.size() - 1) != state) {
            states.add(state);
        }
    }

    void refused(CoordinatorMessage.StepRefused refusal) {
        invariants.refused();
        apply(t -> machine.stepRefused(refusal, t));
    }

    void until(BooleanSupplier condition) {
        long deadline = now() + 3_600_000;
        while (!condition.getAsBoolean()) {
            assertTrue(now() < deadline, () -> "nothing comes of it: " + machine + "\n" + tail());
            assertTrue(timeline.next(state().toString()), () -> "nothing happens any more: " + machine + "\n" + tail());
        }
    }

    void untilState(RunState wanted) {
        until(() -> state() == wanted || state().isFinal());
        assertEquals(wanted, state(), this::tail);
    }

    void untilStep(long step) {
        until(() -> step() >= step || state().isFinal());
        assertFalse(state().isFinal(), this::tail);
    }

    /** Until the run is over and everything that was under way has arrived. */
    Effect.End finish() {
        until(() -> end != null);
        long quiet = now() + 60_000;
        after(60_000, "quiet", () -> {});
        until(() -> now() >= quiet);
        assertTrue(state().isFinal(), this::tail);
        assertEquals(wishes.keySet(), scaleAnswers.keySet(), "scale requests without an answer");
        for (SimulatedWorker worker : workers.values()) {
            assertFalse(
                    worker.alive && registered.contains(worker.id),
                    () -> "worker " + worker.id + " was left\n" + tail());
        }
        return end;
    }

    void finishDone() {
        assertTrue(finish().success(), this::tail);
        assertEquals(totalSteps, published.get(published.size() - 1).step());
        assertTrue(disk.complete.containsValue(totalSteps));
    }

    long scale(int count) {
        long request = requests++;
        wishes.put(request, count);
        apply(time -> machine.scale(request, count, time));
        return request;
    }

    void stop(boolean immediately) {
        apply(time -> machine.stop(immediately, time));
    }

    /** A worker's process ends without a word. */
    void kill(int id) {
        SimulatedWorker worker = workers.get(id);
        if (worker.alive) {
            trace("kill " + id);
            worker.die();
            groups.values().forEach(group -> group.died(id));
            noticeEnd(id);
        }
    }

    /** The process's end is noticed twice: by its parent and by the cluster. */
    void noticeEnd(int id) {
        after(detectMillis, "lost " + id, () -> apply(time -> machine.lost(id, "its process ended", time)));
        after(detectMillis + 3, "lost again " + id, () -> apply(time -> machine.lost(id, "unreachable", time)));
    }

    int ranked() {
        return (int)
                machine.view().workers().stream().filter(w -> w.rank() >= 0).count();
    }

    /** Worker processes that are there. */
    long living() {
        return workers.values().stream().filter(w -> w.alive).count();
    }

    int rank(int rank) {
        return machine.view().workers().stream()
                .filter(w -> w.rank() == rank)
                .findFirst()
                .orElseThrow()
                .id();
    }

    void register(int id) {
        registered.add(id);
        apply(time -> machine.registered(new WorkerInfo(id, "host", "key", 1000 + id, "cpu", -1), time));
    }

    int joinByHand() {
        int id = machine.joinedByHand();
        workers.put(id, new SimulatedWorker(this, id));
        register(id);
        return id;
    }

    private void perform(Effect effect) {
        trace("  " + effect);
        assertTrue(end == null || !(effect instanceof Effect.Launch), "a launch after the end");
        if (effect instanceof Effect.Launch e) {
            launch(e.workerId());
        } else if (effect instanceof Effect.Kill e) {
            after(1, "kill " + e.workerId(), () -> {
                if (workers.containsKey(e.workerId())) {
                    kill(e.workerId());
                }
            });
        } else if (effect instanceof Effect.Tell e) {
            assertTrue(registered.contains(e.workerId()), () -> "a message to an unknown worker: " + e);
            invariants.told(e);
            send("to " + e.workerId(), e.toString(), () -> workers.get(e.workerId())
                    .receive(e.message()));
        } else if (effect instanceof Effect.PrepareCheckpoint e) {
            disk.prepare(e.step());
        } else if (effect instanceof Effect.CommitCheckpoint e) {
            disk.commit(e);
        } else if (effect instanceof Effect.DiscardCheckpoint e) {
            disk.discard(e.step());
        } else if (effect instanceof Effect.PublishStep e) {
            invariants.published(e.metrics());
        } else if (effect instanceof Effect.AnswerScale e) {
            assertTrue(wishes.containsKey(e.request()));
            assertFalse(scaleAnswers.containsKey(e.request()), "answered twice");
            scaleAnswers.put(e.request(), e.error());
            if (e.error() == null) {
                assertEquals(wishes.get(e.request()), ranked(), "the answer came too early");
            }
        } else if (effect instanceof Effect.Notice e) {
            notices.add(e.text());
        } else if (effect instanceof Effect.End e) {
            assertEquals(null, end, "a second end");
            assertFalse(e.message().isBlank());
            end = e;
            endedAt = now();
        }
    }

    private void launch(int id) {
        assertFalse(workers.containsKey(id), "a number that was used before");
        SimulatedWorker worker = new SimulatedWorker(this, id);
        workers.put(id, worker);
        boolean fails = launchesToFail > 0 || random.nextDouble() < launchFailures;
        launchesToFail--;
        if (hangLaunches || workers.size() > hangLaunchesAfter) {
            return;
        }
        after(100 + random.nextInt(300), (fails ? "failed launch " : "register ") + id, () -> {
            if (fails) {
                kill(id);
            } else if (worker.alive && end == null) {
                register(id);
            } else {
                worker.alive = false;
            }
        });
    }

    void trace(String what) {
        timeline.note(state().toString(), what);
    }

    String tail() {
        return timeline.tail();
    }
}
