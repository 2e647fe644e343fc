package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.stream.Collectors;
import org.shardloom.protocol.message.CoordinatorMessage.ExportFailed;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.StepRefused;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.plan.UnitSize;

/** Behaves like the worker's actor and engine: one order after the other, answers of another generation dropped, aborts at once. */
final class SimulatedWorker {
    final int id;
    boolean alive = true;
    /** What its engine holds: steps done, or -1. */
    long holds = -1;

    private final SimulatedRun run;
    private final Queue<Runnable> orders = new ArrayDeque<>();
    private long generation = -1;
    private Set<Integer> ranks = Set.of();
    private int rank = -1;
    private boolean busy;
    private long orderNumber;
    private SimulatedGroup group;

    SimulatedWorker(SimulatedRun run, int id) {
        this.run = run;
        this.id = id;
    }

    void die() {
        alive = false;
        orders.clear();
        orderNumber++;
    }

    void receive(WorkerMessage message) {
        if (!alive) {
            return;
        }
        if (message instanceof WorkerMessage.StartGeneration m) {
            if (m.generation() <= generation) {
                return;
            }
            generation = m.generation();
            if (m.origin() != WorkerMessage.Origin.RESHARD) {
                interrupt();
            }
            order(m.generation(), () -> start(m));
        } else if (message instanceof WorkerMessage.RunStep m) {
            order(m.generation(), () -> step(m));
        } else if (message instanceof WorkerMessage.SaveCheckpoint m) {
            order(m.generation(), () -> save(m));
        } else if (message instanceof WorkerMessage.ExportFinal m) {
            order(m.generation(), () -> export(m));
        } else if (message instanceof WorkerMessage.AbortGeneration m) {
            if (m.generation() == generation) {
                interrupt();
            }
        } else if (message instanceof WorkerMessage.Leave) {
            run.kill(id);
        }
    }

    /** What waits for peers gives up; what does not goes on to its end. */
    private void interrupt() {
        if (group != null) {
            SimulatedGroup left = group;
            left.leave(id);
            failed();
        }
    }

    private void order(long ofGeneration, Runnable work) {
        if (ofGeneration == generation) {
            orders.add(work);
            next();
        }
    }

    private void next() {
        if (!busy && alive && !orders.isEmpty()) {
            busy = true;
            orders.remove().run();
        }
    }

    private void done(long ofGeneration, String what, Runnable tell) {
        busy = false;
        group = null;
        if (ofGeneration == generation) {
            run.send("from " + id, what + " by " + id, tell);
        }
        next();
    }

    private long failedGeneration;

    private void failed() {
        holds = -1;
        long of = failedGeneration;
        done(
                of,
                "failed",
                () -> run.apply(t -> run.machine.failed(new WorkerFailed(of, id, Severity.PASSING, "peer gone"), t)));
    }

    private void together(String key, long ofGeneration, Set<Integer> with, long millis, Runnable success) {
        failedGeneration = ofGeneration;
        group = run.groups.computeIfAbsent(key, k -> new SimulatedGroup(run, with));
        group.join(id, millis, () -> alive(success), () -> alive(this::failed));
    }

    private void alone(long millis, Runnable success) {
        long current = orderNumber;
        run.after(millis, "work of " + id, () -> {
            if (alive && current == orderNumber) {
                success.run();
            }
        });
    }

    private void alive(Runnable work) {
        if (alive) {
            work.run();
        }
    }

    private void start(WorkerMessage.StartGeneration m) {
        ranks = m.members().stream()
                .filter(member -> member.rank() >= 0)
                .map(Member::workerId)
                .collect(Collectors.toSet());
        Member self = m.members().stream()
                .filter(member -> member.workerId() == id)
                .findFirst()
                .orElseThrow();
        rank = self.rank();
        Set<Integer> all = m.members().stream().map(Member::workerId).collect(Collectors.toSet());
        if (m.origin() == WorkerMessage.Origin.RESHARD && self.oldRank() >= 0) {
            assertEquals(m.state().step(), holds, () -> "worker " + id + " cannot hand over\n" + run.tail());
        }
        if (m.origin() == WorkerMessage.Origin.CHECKPOINT && m.generation() == generation) {
            assertTrue(run.disk.complete.containsKey(m.checkpoint()), () -> "no " + m.checkpoint() + "\n" + run.tail());
        }
        together("start " + m.generation(), m.generation(), all, 50, () -> {
            TrainingState state =
                    switch (m.origin()) {
                        case START -> TrainingState.START;
                        case CHECKPOINT -> new TrainingState(
                                run.disk.complete.getOrDefault(m.checkpoint(), -7L), 0, 0, 0, GuardState.START);
                        case RESHARD -> m.state();
                    };
            holds = state.step();
            Ready ready =
                    new Ready(m.generation(), id, run.totalSteps, List.of(new UnitSize("u", 10)), "{}", "data", state);
            done(m.generation(), "ready", () -> run.apply(t -> run.machine.ready(ready, t)));
        });
    }

    private void step(WorkerMessage.RunStep m) {
        assertEquals(m.step() - 1, holds, () -> "worker " + id + " holds another state\n" + run.tail());
        if (m.step() == run.refusedStep) {
            together("step " + m.generation() + " " + m.step(), m.generation(), ranks, run.stepMillis, () -> {
                StepRefused refused = new StepRefused(m.generation(), id, m.step(), "the gradient has exploded");
                done(m.generation(), "refused", () -> run.refused(refused));
            });
            return;
        }
        together("step " + m.generation() + " " + m.step(), m.generation(), ranks, run.stepMillis, () -> {
            holds = m.step();
            boolean applied = m.step() != run.leftOutStep;
            StepReport report = new StepReport(
                    1.0 / m.step(),
                    run.gradNorm,
                    applied,
                    run.learningRate.applyAsDouble(m.step()),
                    10,
                    0.5,
                    0.04,
                    Map.of("forward", 0.02),
                    1,
                    2);
            Double evaluated = run.evaluated.apply(m.step());
            if (evaluated != null) {
                report = report.with(new EvaluationReport(evaluated, 3, List.of(), 0.1, null));
            }
            StepDone stepDone = new StepDone(
                    m.generation(), id, new TrainingState(m.step(), m.step(), 0, 0, GuardState.START), report);
            done(m.generation(), "step done", () -> run.apply(t -> run.machine.stepDone(stepDone, t)));
        });
    }

    private void save(WorkerMessage.SaveCheckpoint m) {
        assertEquals(m.step(), holds);
        int ofRank = rank;
        List<String> directory = run.disk.unfinished.get(m.directory());
        alone(10 + run.random.nextInt(30) + (run.random.nextInt(3) == 0 ? run.disk.slowSaveMillis : 0), () -> {
            if (run.disk.full && run.random.nextInt(3) > 0) {
                ShardFailed failure = new ShardFailed(m.generation(), id, m.step(), true, "No space left on device");
                done(m.generation(), "shard failed", () -> run.apply(t -> run.machine.shardFailed(failure, t)));
                return;
            }
            String file = "shard-" + ofRank + "-of-" + ranks.size();
            if (directory != null) {
                directory.add(file);
            }
            ShardWritten written = new ShardWritten(m.generation(), id, m.step(), ofRank, file, 1, new byte[32]);
            done(m.generation(), "shard written", () -> run.apply(t -> run.machine.shardWritten(written, t)));
        });
    }

    private void export(WorkerMessage.ExportFinal m) {
        assertTrue(run.disk.complete.containsKey(m.checkpoint()));
        alone(200, () -> {
            if (run.disk.full) {
                ExportFailed failure = new ExportFailed(m.generation(), id, "no space for the model");
                done(m.generation(), "export failed", () -> run.apply(t -> run.machine.exportFailed(failure, t)));
                return;
            }
            Exported exported = new Exported(m.generation(), id, m.directory());
            done(m.generation(), "exported", () -> run.apply(t -> run.machine.exported(exported, t)));
        });
    }
}
