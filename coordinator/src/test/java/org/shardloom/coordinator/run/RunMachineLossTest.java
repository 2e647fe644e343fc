package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.coordinator.run.SimulatedRun.settings;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.WorkerMessage.Origin;

/** Runs that lose workers. */
@Timeout(60)
class RunMachineLossTest {
    private static SimulatedRun begin(int workers, boolean replacement, long every, long steps) {
        return new SimulatedRun(settings(workers, replacement, every), steps, 17).begin();
    }

    private static long recoveries(SimulatedRun run) {
        return run.states.stream().filter(s -> s == RunState.RECOVERING).count();
    }

    @Test
    void aLossInEveryStateIsRecoveredFromWithAndWithoutReplacement() {
        for (boolean replacement : List.of(true, false)) {
            for (RunState state : List.of(
                    RunState.LOADING, RunState.TRAINING, RunState.RESIZING, RunState.RECOVERING, RunState.FINISHING)) {
                for (int rank : List.of(0, 2)) {
                    SimulatedRun run = begin(4, replacement, 3, 12);
                    if (state == RunState.RESIZING) {
                        run.untilStep(4);
                        run.scale(3);
                    } else if (state == RunState.RECOVERING) {
                        run.untilStep(4);
                        run.kill(run.rank(3));
                    } else if (state == RunState.TRAINING) {
                        run.untilStep(4);
                    }
                    int victim = state == RunState.RECOVERING ? run.rank(rank) : -1;
                    run.untilState(state);
                    run.kill(victim >= 0 ? victim : run.rank(rank));
                    run.finishDone();
                    assertTrue(recoveries(run) <= 1, state + ": more than one recovery\n" + run.tail());
                    int left = state == RunState.RECOVERING ? 2 : 3;
                    int workers = run.generations.get(run.generations.size() - 1).members().stream()
                            .mapToInt(m -> m.rank() >= 0 ? 1 : 0)
                            .sum();
                    int expected =
                            state == RunState.FINISHING ? 4 : !replacement ? left : state == RunState.RESIZING ? 3 : 4;
                    assertEquals(expected, workers, state + " " + replacement);
                }
            }
        }
    }

    @Test
    void aWorkerLostWhileAssemblingIsReplacedOrTheRunFails() {
        SimulatedRun run = begin(3, true, 0, 10);
        run.until(() -> run.machine.view().workers().size() == 1);
        run.kill(run.machine.view().workers().get(0).id());
        run.finishDone();
        assertEquals(3, run.generations.get(0).members().size());
        assertEquals(0, recoveries(run));
        SimulatedRun strict = begin(3, false, 0, 10);
        strict.until(() -> strict.machine.view().workers().size() == 1);
        strict.kill(strict.machine.view().workers().get(0).id());
        assertFalse(strict.finish().success());
    }

    @Test
    void trainingGoesOnExactlyAfterTheLastCheckpoint() {
        SimulatedRun run = begin(3, true, 4, 20);
        run.untilStep(10);
        run.kill(run.rank(2));
        run.finishDone();
        assertEquals(Origin.CHECKPOINT, run.generations.get(1).origin());
        assertTrue(run.generations.get(1).checkpoint().endsWith("checkpoint-8"));
        int repeated = run.published.size() - 20;
        assertTrue(repeated == 2 || repeated == 3, "repeated " + repeated);
    }

    @Test
    void withoutACheckpointTrainingBeginsAnew() {
        SimulatedRun run = begin(3, true, 0, 20);
        run.untilStep(7);
        run.kill(run.rank(0));
        run.finishDone();
        assertEquals(Origin.START, run.generations.get(1).origin());
    }

    @Test
    void aCommitThatIsUnderWayCountsWhenAWorkerIsLost() {
        SimulatedRun run = begin(3, true, 4, 20);
        run.disk.commitMillis = 2000;
        run.untilStep(8);
        run.until(() -> run.disk.unfinished.size() == 1
                && run.disk.unfinished.values().iterator().next().size() == 3);
        run.after(20, "kill", () -> run.kill(run.rank(1)));
        run.untilState(RunState.RECOVERING);
        assertEquals(List.of(4L), run.disk.committed);
        run.untilState(RunState.LOADING);
        assertEquals(List.of(4L, 8L), run.disk.committed);
        assertTrue(run.generations.get(1).checkpoint().endsWith("checkpoint-8"));
        run.finishDone();
        assertEquals(20, run.published.size());
    }

    @Test
    void aLossWhileShardsAreWrittenDiscardsThem() {
        SimulatedRun run = begin(3, true, 4, 20);
        run.disk.slowSaveMillis = 3000;
        run.untilStep(8);
        run.until(() -> run.disk.unfinished.size() == 1);
        run.kill(run.rank(1));
        run.untilState(RunState.LOADING);
        assertTrue(run.disk.unfinished.isEmpty());
        run.finishDone();
    }

    @Test
    void aLeavingWorkerThatDiesBeforeItHandedOverIsALoss() {
        SimulatedRun run = begin(4, true, 3, 20);
        run.survivorMillis = 60_000;
        run.untilStep(4);
        int leaver = run.rank(3);
        long request = run.scale(3);
        run.untilState(RunState.RESIZING);
        run.kill(leaver);
        long killed = run.now();
        run.untilState(RunState.RECOVERING);
        assertTrue(run.now() - killed < 1000, "nobody waits until the survivors give up");
        run.until(() -> run.scaleAnswers.containsKey(request));
        run.finishDone();
        assertEquals(1, recoveries(run));
        assertEquals(3, run.published.get(run.published.size() - 1).workers());
    }

    @Test
    void oneDeathIsOneRecoveryHoweverLateItIsNoticed() {
        for (long detect : List.of(0L, 10L, 60L, 300L, 900L)) {
            for (long survivors : List.of(0L, 50L, 5000L)) {
                SimulatedRun run = begin(6, true, 4, 20);
                run.detectMillis = detect;
                run.survivorMillis = survivors;
                run.untilStep(6);
                run.kill(run.rank(3));
                run.finishDone();
                assertEquals(1, recoveries(run), "noticed after " + detect + ", " + survivors);
                assertEquals(2, run.generations.size());
            }
        }
    }

    @Test
    void aLossThatIsNoticedVeryLateStillConverges() {
        SimulatedRun run = begin(4, true, 4, 20);
        run.detectMillis = 12_000;
        run.untilStep(6);
        run.kill(run.rank(3));
        run.finishDone();
        assertTrue(run.generations.size() <= 6, () -> "generations " + run.generations.size());
    }

    @Test
    void aHostThatDiesWithManyWorkersIsOneRecovery() {
        for (boolean replacement : List.of(true, false)) {
            SimulatedRun run = begin(12, replacement, 4, 20);
            run.untilStep(6);
            for (int i = 0; i < 9; i++) {
                int id = run.rank(i);
                run.after(i * 15, "kill", () -> run.kill(id));
            }
            run.finishDone();
            assertEquals(1, recoveries(run));
        }
    }

    @Test
    void accidentsOneAfterTheOtherAreNoReasonToGiveUp() {
        SimulatedRun run = begin(10, false, 0, 60);
        run.untilStep(40);
        for (int i = 0; i < 8; i++) {
            run.after(
                    600 * i,
                    "kill",
                    () -> run.kill(run.workers.values().stream()
                            .filter(w -> w.alive)
                            .findFirst()
                            .orElseThrow()
                            .id));
        }
        run.finishDone();
        assertTrue(recoveries(run) > 6);
        assertEquals(2, run.published.get(run.published.size() - 1).workers());
    }

    @Test
    void aWorkerThatDiesAtTheSameStepAgainAndAgainFailsTheRun() {
        SimulatedRun run = begin(2, true, 2, 30);
        for (int i = 0; i < 20 && run.end == null; i++) {
            run.until(() -> run.end != null || (run.state() == RunState.TRAINING && run.step() >= 5));
            if (run.end == null) {
                run.kill(run.rank(1));
                run.until(() -> run.state() != RunState.TRAINING);
            }
        }
        assertFalse(run.finish().success());
        assertTrue(run.end.message().contains("without a new step"), run.end.message());
    }

    @Test
    void belowTheLeastWorkersTheRunWaitsAndThenFails() {
        SimulatedRun run =
                new SimulatedRun(new RunSettings(3, 3, false, 0, 0, 10_000, SimulatedRun.OUT, null), 50, 3).begin();
        run.untilStep(5);
        run.kill(run.rank(1));
        run.untilState(RunState.RECOVERING);
        assertEquals(3, run.workers.size(), "no replacement may be started");
        assertEquals("only 2 of 3 workers came within 10 s", run.finish().message());
    }

    @Test
    void aFatalFailureEndsTheRunAtOnce() {
        SimulatedRun run = begin(3, true, 2, 60);
        run.untilStep(3);
        run.apply(t -> run.machine.failed(new WorkerFailed(1, 1, Severity.FATAL, "the loss is not finite"), t));
        assertFalse(run.finish().success());
        assertEquals("the loss is not finite", run.end.message());
    }

    @Test
    void aWorkerWhoseDeviceIsLostIsReplaced() {
        SimulatedRun run = begin(3, true, 2, 30);
        run.untilStep(5);
        loseDevice(run, run.rank(1));
        run.finishDone();
        assertEquals(2, run.generations.size());
        assertEquals(3, run.generations.get(1).members().size());
    }

    private static void loseDevice(SimulatedRun run, int id) {
        long generation = run.machine.view().generation();
        run.apply(t -> run.machine.failed(new WorkerFailed(generation, id, Severity.DEVICE_LOST, "cuda:1 is gone"), t));
        if (run.end == null) {
            run.kill(id);
        }
    }

    @Test
    void devicesThatAreLostAgainAndAgainAreTheReasonWhyTheRunFails() {
        SimulatedRun run = begin(2, true, 0, 30);
        for (int i = 0; i < 10 && run.end == null; i++) {
            run.until(() -> run.end != null || run.state() == RunState.LOADING);
            if (run.end == null) {
                long generation = run.machine.view().generation();
                int peer = run.rank(0), loser = run.rank(1);
                // The peer's failure is often heard first.
                run.apply(
                        t -> run.machine.failed(new WorkerFailed(generation, peer, Severity.PASSING, "peer gone"), t));
                loseDevice(run, loser);
            }
        }
        Effect.End end = run.finish();
        assertFalse(end.success());
        assertTrue(end.message().startsWith("cuda:1 is gone; 5 setbacks"), end.message());
    }

    @Test
    void failuresOfLostWorkersAndOfOtherGenerationsAreDropped() {
        SimulatedRun run = begin(3, true, 2, 30);
        run.untilStep(3);
        run.apply(t -> run.machine.failed(new WorkerFailed(0, 1, Severity.FATAL, "old"), t));
        run.apply(t -> run.machine.failed(new WorkerFailed(1, 77, Severity.FATAL, "unknown"), t));
        run.finishDone();
        assertEquals(1, run.generations.size());
    }

    @Test
    void aWorkerThatFailsAgainAndAgainFailsTheRunWithAReason() {
        SimulatedRun run = begin(2, true, 0, 30);
        for (int i = 0; i < 10 && run.end == null; i++) {
            run.until(() -> run.end != null || run.state() == RunState.LOADING);
            long generation = run.machine.view().generation();
            run.apply(t -> run.machine.failed(new WorkerFailed(generation, 0, Severity.PASSING, "no peers"), t));
        }
        Effect.End end = run.finish();
        assertFalse(end.success());
        assertTrue(end.message().contains("without a new step"), end.message());
    }

    @Test
    void aStopWhileRecoveringWaitsForTheCommitUnderWay() {
        SimulatedRun run = begin(3, true, 4, 20);
        run.disk.commitMillis = 2000;
        run.until(() -> run.disk.unfinished.size() == 1
                && run.disk.unfinished.values().iterator().next().size() == 3);
        run.after(20, "kill", () -> run.kill(run.rank(1)));
        run.untilState(RunState.RECOVERING);
        run.stop(false);
        assertTrue(run.finish().success());
        assertEquals(
                "stopped at step 4, last checkpoint /out/checkpoint-4; --resume latest goes on", run.end.message());
    }
}
