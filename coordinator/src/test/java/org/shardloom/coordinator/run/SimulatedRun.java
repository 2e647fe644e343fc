package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.function.LongFunction;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.RunStep;
import org.shardloom.protocol.message.WorkerMessage.SaveCheckpoint;
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
    final List<Long> committed = new ArrayList<>();
    final List<StartGeneration> generations = new ArrayList<>();
    final List<RunState> states = new ArrayList<>();
    final Map<Long, String> scaleAnswers = new HashMap<>();
    final Map<String, SimulatedGroup> groups = new HashMap<>();
    /** Directories of checkpoints that are being written, with the files in them; a new list for every attempt. */
    final Map<String, List<String>> unfinished = new HashMap<>();
    /** Complete checkpoints and their steps. */
    final Map<String, Long> complete = new HashMap<>();

    final List<String> trace = new ArrayList<>();
    Effect.End end;
    /** Knobs. */
    boolean diskFull;

    int launchesToFail;
    boolean hangLaunches;
    int hangLaunchesAfter = Integer.MAX_VALUE;
    long endedAt;
    double launchFailures;
    long detectMillis = 20;
    long survivorMillis = 30;
    long stepMillis = 40;
    long fileMillis = 5;
    long commitMillis = 5;
    long slowSaveMillis;

    private record Event(long time, long number, String what, Runnable action) {}

    private final PriorityQueue<Event> events =
            new PriorityQueue<>(Comparator.comparingLong(Event::time).thenComparingLong(Event::number));
    private final Map<String, Long> links = new HashMap<>();
    private final Set<Integer> registered = new HashSet<>();
    private final Map<Long, Integer> wishes = new HashMap<>();
    private long now = 1000;
    private long number;
    private long filesFreeAt;
    private long requests;
    private long lastCommitted = -1;
    private long expectedStep = 1;
    private int inFlight;

    SimulatedRun(RunSettings settings, long totalSteps, long seed) {
        this.settings = settings;
        this.totalSteps = totalSteps;
        this.random = new Random(seed);
        this.machine = new RunMachine(settings);
        if (settings.resume() != null) {
            String name = settings.resume();
            complete.put(name, Long.parseLong(name.substring(name.lastIndexOf('-') + 1)));
            lastCommitted = complete.get(name);
        }
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
        return now;
    }

    RunState state() {
        return machine.view().state();
    }

    long step() {
        return machine.view().step();
    }

    /** Something happens later. */
    void after(long millis, String what, Runnable action) {
        events.add(new Event(now + millis, number++, what, action));
    }

    /** A message from one end to another; later ones on the same way do not overtake it. */
    void send(String way, String what, Runnable action) {
        long time = Math.max(now + 1 + random.nextInt(4), links.getOrDefault(way, 0L));
        links.put(way, time);
        events.add(new Event(time, number++, what, action));
    }

    /** Tells the machine something and does what it wants. */
    void apply(LongFunction<List<Effect>> event) {
        for (Effect effect : event.apply(now)) {
            perform(effect);
        }
        RunState state = state();
        if (states.isEmpty() || states.get(states.size() - 1) != state) {
            states.add(state);
        }
    }

    void until(BooleanSupplier condition) {
        long deadline = now + 3_600_000;
        while (!condition.getAsBoolean()) {
            assertTrue(now < deadline, () -> "nothing comes of it: " + machine + "\n" + tail());
            Event next = events.poll();
            assertNotNull(next, () -> "nothing happens any more: " + machine + "\n" + tail());
            now = next.time();
            trace(next.what());
            next.action().run();
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
        long quiet = now + 60_000;
        after(60_000, "quiet", () -> {});
        until(() -> now >= quiet);
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
        assertTrue(complete.containsValue(totalSteps));
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
            check(e);
            send("to " + e.workerId(), e.toString(), () -> workers.get(e.workerId())
                    .receive(e.message()));
        } else if (effect instanceof Effect.PrepareCheckpoint e) {
            onFiles(fileMillis, "prepare " + e.step(), () -> prepare(e.step()));
        } else if (effect instanceof Effect.CommitCheckpoint e) {
            onFiles(commitMillis, "commit " + e.state().step(), () -> commit(e));
        } else if (effect instanceof Effect.DiscardCheckpoint e) {
            onFiles(1, "discard " + e.step(), () -> unfinished.remove(temporary(e.step())));
        } else if (effect instanceof Effect.PublishStep e) {
            publish(e.metrics());
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
            endedAt = now;
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

    private void check(Effect.Tell tell) {
        if (tell.message() instanceof StartGeneration m) {
            inFlight = 0;
            if (generations.isEmpty() || generations.get(generations.size() - 1).generation() != m.generation()) {
                long before = generations.isEmpty()
                        ? 0
                        : generations.get(generations.size() - 1).generation();
                assertTrue(m.generation() > before, "a generation that does not increase");
                generations.add(m);
                if (m.checkpoint() != null && m.origin() != Origin.RESHARD) {
                    assertEquals(lastCommitted, complete.get(m.checkpoint()), "not the last checkpoint");
                    expectedStep = lastCommitted + 1;
                } else if (m.checkpoint() == null) {
                    assertEquals(-1, lastCommitted, "a checkpoint is ignored");
                    expectedStep = m.origin() == Origin.START ? 1 : m.state().step() + 1;
                }
            }
        } else if (tell.message() instanceof RunStep m) {
            assertEquals(expectedStep, m.step(), "a step out of order");
            assertEquals(m.generation(), machine.view().generation());
            inFlight++;
            assertTrue(inFlight <= ranked());
        } else if (tell.message() instanceof SaveCheckpoint m) {
            assertEquals(0, inFlight, "a checkpoint while a step is in flight");
            assertEquals(expectedStep - 1, m.step());
        }
    }

    private void publish(StepMetrics metrics) {
        assertEquals(expectedStep, metrics.step(), "a step lost or done twice");
        assertEquals(metrics.workers(), inFlight, "a step without all its workers");
        inFlight = 0;
        expectedStep++;
        published.add(metrics);
    }

    static String temporary(long step) {
        return OUT + "/checkpoint-" + step + ".writing";
    }

    private void onFiles(long millis, String what, Runnable work) {
        filesFreeAt = Math.max(now, filesFreeAt) + millis;
        events.add(new Event(filesFreeAt, number++, what, work));
    }

    private void prepare(long step) {
        if (diskFull && random.nextInt(3) == 0) {
            send("files", "prepare failed", () -> apply(t -> machine.checkpointFailed(step, true, "no space", t)));
            return;
        }
        unfinished.put(temporary(step), new ArrayList<>());
        send("files", "prepared " + step, () -> apply(t -> machine.checkpointPrepared(step, temporary(step), t)));
    }

    private void commit(Effect.CommitCheckpoint e) {
        long step = e.state().step();
        List<String> files = unfinished.remove(temporary(step));
        assertNotNull(files, () -> "the directory was removed before it was committed\n" + tail());
        assertEquals(e.worldSize(), files.size(), "shards missing or of another attempt");
        assertEquals(e.worldSize(), e.shards().size());
        for (ShardWritten shard : e.shards()) {
            assertTrue(files.contains(shard.file()), "a shard that is not there");
        }
        String directory = OUT + "/checkpoint-" + step;
        complete.clear(); // keep_last: 1
        complete.put(directory, step);
        lastCommitted = step;
        committed.add(step);
        send("files", "committed " + step, () -> apply(t -> machine.checkpointCommitted(step, directory, t)));
    }

    void trace(String what) {
        trace.add(now + " " + state() + " " + what);
    }

    String tail() {
        return String.join("\n", trace.subList(Math.max(0, trace.size() - 120), trace.size()));
    }
}
