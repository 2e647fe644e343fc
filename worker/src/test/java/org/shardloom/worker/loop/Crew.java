package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.checkpoint.Saved;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.zero.Ranks.Meeting;

/** Workers' sessions on threads of their own, told what a coordinator would tell them. */
final class Crew implements AutoCloseable {
    private static final RunSecret SECRET = RunSecret.random();
    private final JobConfig job;
    private final Map<Integer, Worker> workers = new TreeMap<>();
    private long generation;
    private TrainingState state = TrainingState.START;
    private List<Ready> ready = List.of();
    private AbortSignal signal = new AbortSignal();

    private static final class Worker {
        final ExecutorService thread = Executors.newSingleThreadExecutor();
        Session session;
        int rank = -1;
    }

    private interface Order<T> {
        T run(int id, Session session) throws Exception;
    }

    Crew(JobConfig job) {
        this.job = job;
    }

    /** Begins a generation of these workers, in rank order; others leave, new ones come. */
    void start(Origin origin, String checkpoint, int... ids) throws Exception {
        if (origin != Origin.RESHARD) {
            keepOnly(ids);
        }
        for (int id : ids) {
            if (!workers.containsKey(id)) {
                Worker worker = new Worker();
                workers.put(id, worker);
                worker.thread
                        .submit(() -> worker.session = new Session(job, SECRET, 1))
                        .get();
            }
        }
        Map<Integer, Integer> ranks = new LinkedHashMap<>();
        for (int id : ids) {
            ranks.put(id, ranks.size());
        }
        List<Member> members = new ArrayList<>();
        workers.forEach((id, worker) ->
                members.add(new Member(id, "127.0.0.1", "here", worker.rank, ranks.getOrDefault(id, -1))));
        StartGeneration message = new StartGeneration(++generation, origin, members, checkpoint, state);
        Meeting meeting = new Meeting();
        AbortSignal ofGeneration = new AbortSignal();
        signal = ofGeneration;
        ready = all((id, session) -> session.start(
                message,
                id,
                group -> {
                    boolean movers = group.equals("movers");
                    int index = new ArrayList<>(workers.keySet()).indexOf(id);
                    return meeting.of(
                            group, movers ? index : members.get(index).rank(), movers ? members.size() : ids.length);
                },
                ofGeneration));
        state = ready.get(0).state();
        for (Ready each : ready) {
            assertEquals(state, each.state(), "all start from the same state");
            assertEquals(generation, each.generation());
        }
        workers.forEach((id, worker) -> worker.rank = ranks.getOrDefault(id, -1));
        keepOnly(ids);
    }

    private void keepOnly(int... ids) throws IOException {
        for (Integer id : List.copyOf(workers.keySet())) {
            if (Arrays.stream(ids).noneMatch(kept -> kept == id)) {
                close(workers.remove(id));
            }
        }
    }

    /** Does the steps up to this one; their reports. */
    List<StepReport> stepsTo(long last) throws Exception {
        List<StepReport> reports = new ArrayList<>();
        while (state.step() < last) {
            long step = state.step() + 1;
            List<StepDone> done = all((id, session) -> session.step(step));
            for (StepDone each : done) {
                assertEquals(done.get(0).state(), each.state());
                assertEquals(done.get(0).report().loss(), each.report().loss());
            }
            state = done.get(0).state();
            reports.add(done.get(0).report());
        }
        return reports;
    }

    /** Saves a checkpoint. */
    Path save(Path directory) throws Exception {
        Files.createDirectories(directory);
        ShardFiles.Written[] shards = new ShardFiles.Written[workers.size()];
        for (ShardWritten w : all((id, session) -> session.save(state.step(), directory))) {
            shards[w.rank()] = new ShardFiles.Written(w.file(), w.bytes(), w.checksum());
        }
        Ready first = ready.get(0);
        Saved.manifest(
                directory,
                new ShardPlan(shards.length, first.units()),
                state,
                first.modelConfigJson(),
                List.of(shards));
        return directory;
    }

    TrainingState state() {
        return state;
    }

    void export(Path checkpoint, Path target) throws Exception {
        Worker worker = workers.values().iterator().next();
        worker.thread.submit(() -> worker.session.export(checkpoint, target)).get();
    }

    private <T> List<T> all(Order<T> order) throws Exception {
        List<Future<T>> answers = new ArrayList<>();
        workers.forEach((id, worker) -> answers.add(worker.thread.submit(() -> order.run(id, worker.session))));
        List<T> results = new ArrayList<>();
        ExecutionException failure = null;
        for (Future<T> answer : answers) {
            try {
                results.add(answer.get(60, TimeUnit.SECONDS));
            } catch (ExecutionException e) {
                failure = e;
                abort("a worker failed: " + e.getCause());
            }
        }
        if (failure != null) {
            throw (Exception) failure.getCause();
        }
        return results;
    }

    /** One worker does a step that the others never hear of, until it is given up. */
    void stepOfOne(long step) throws Exception {
        Worker worker = workers.values().iterator().next();
        Future<StepDone> waiting = worker.thread.submit(() -> worker.session.step(step));
        Thread.sleep(300);
        assertEquals(false, waiting.isDone());
        abort("the other worker is gone");
        try {
            waiting.get(30, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw (Exception) e.getCause();
        }
    }

    void abort(String reason) {
        signal.abort(reason);
    }

    private static void close(Worker worker) throws IOException {
        try {
            worker.thread.submit(() -> worker.session.close()).get(60, TimeUnit.SECONDS);
        } catch (Exception e) {
            throw new IOException(e);
        } finally {
            worker.thread.shutdownNow();
        }
    }

    @Override
    public void close() throws IOException {
        for (Worker worker : workers.values()) {
            close(worker);
        }
        workers.clear();
    }
}
