package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.coordinator.run.SimulatedRun.settings;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.message.CoordinatorMessage.ExportFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;

/** Runs whose disk is full, and what is left on it. */
@Timeout(60)
class RunMachineSpaceTest {
    private static SimulatedRun begin(int workers, long every, long steps) {
        return new SimulatedRun(settings(workers, true, every), steps, 11).begin();
    }

    /** Paused for lack of space after a step, with a checkpoint of step 5 on the disk. */
    private static SimulatedRun paused() {
        SimulatedRun run = begin(3, 5, 20);
        run.untilStep(6);
        run.disk.full = true;
        run.until(() -> isPaused(run));
        assertEquals(10, run.step());
        return run;
    }

    /** Paused for lack of space for the model. */
    private static SimulatedRun pausedBeforeTheModel() {
        SimulatedRun run = begin(3, 5, 10);
        run.until(() -> run.disk.committed.contains(10L));
        run.disk.full = true;
        run.until(() -> isPaused(run));
        assertEquals(RunState.FINISHING, run.state());
        return run;
    }

    private static boolean isPaused(SimulatedRun run) {
        return run.machine.view().detail().startsWith("paused");
    }

    private static long count(SimulatedRun run, String notice) {
        return run.notices.stream().filter(n -> n.contains(notice)).count();
    }

    @Test
    void fullDisksPauseTheRunUntilThereIsSpace() {
        SimulatedRun run = begin(3, 5, 20);
        run.disk.full = true;
        run.disk.slowSaveMillis = 6000;
        run.until(() -> run.machine.view().detail().startsWith("paused"));
        run.after(30_000, "space", () -> run.disk.full = false);
        run.finishDone();
        assertEquals(List.of(5L, 10L, 15L, 20L), run.disk.committed);
        assertEquals(
                1, run.notices.stream().filter(n -> n.contains("space again")).count());
        assertEquals(20, run.published.size());
    }

    @Test
    void theModelWaitsForSpaceAndIsWrittenThen() {
        SimulatedRun run = pausedBeforeTheModel();
        run.after(30_000, "space", () -> run.disk.full = false);
        run.finishDone();
        assertEquals("done: 10 steps, loss 0.1000, model in /out/final", run.end.message());
        assertEquals(1, count(run, "paused before the model is written: no space for the model. The run goes on when"));
        assertEquals(1, count(run, "space again"));
        assertEquals(List.of(5L, 10L), run.disk.committed);
    }

    @Test
    void aLossWhileTheModelWaitsForSpaceChangesNothing() {
        for (int rank = 0; rank < 3; rank++) {
            SimulatedRun run = pausedBeforeTheModel();
            run.kill(run.rank(rank));
            run.after(8_000, "space", () -> run.disk.full = false);
            run.finishDone();
            assertTrue(!run.states.contains(RunState.RECOVERING), run::tail);
        }
        SimulatedRun alone = begin(1, 5, 10);
        alone.until(() -> alone.disk.committed.contains(10L));
        alone.disk.full = true;
        alone.until(() -> isPaused(alone));
        alone.kill(alone.rank(0));
        alone.untilState(RunState.RECOVERING);
        alone.disk.full = false;
        alone.finishDone();
        assertEquals(10, alone.published.size());
    }

    @Test
    void aStopWhileThereIsNoSpaceEndsTheRunAndSaysWhatIsLost() {
        for (boolean immediately : List.of(false, true)) {
            SimulatedRun run = paused();
            run.after(2000, "stop", () -> run.stop(immediately));
            long asked = run.now() + 2000;
            assertTrue(run.finish().success());
            String why = run.end.message().replaceAll(".*\\((.*)\\).*", "$1");
            assertTrue(why.toLowerCase(java.util.Locale.ROOT).startsWith("no space"), run.end.message());
            assertEquals(
                    "stopped at step 10, last checkpoint /out/checkpoint-5 (" + why
                            + "): 5 steps are lost; --resume latest goes on",
                    run.end.message());
            assertEquals(asked, run.endedAt);
            assertEquals(Map.of(), run.disk.unfinished);
        }
    }

    @Test
    void aStopDuringAnotherAttemptWaitsForItsOutcomeOnly() {
        for (boolean space : List.of(false, true)) {
            SimulatedRun run = paused();
            run.disk.fileMillis = 1000;
            run.until(() -> run.now() % 100 == 0);
            long before = run.now();
            run.until(() -> run.tail().contains("PrepareCheckpoint") && run.now() >= before + 5000);
            run.disk.full = !space;
            run.stop(false);
            long asked = run.now();
            assertTrue(run.finish().success());
            assertTrue(run.endedAt - asked < 3000, run::tail);
            assertEquals(space ? 10 : 5, run.disk.lastCommitted(), run::tail);
            assertEquals(!space, run.end.message().contains("5 steps are lost"), run.end.message());
        }
    }

    @Test
    void aStopThatFindsNoSpaceWaitsForItUntilItIsRepeated() {
        SimulatedRun run = begin(2, 0, 20);
        run.untilStep(6);
        run.disk.full = true;
        run.stop(false);
        run.until(() -> isPaused(run));
        assertEquals(1, count(run, "and then stops; stopped once more, it ends without this checkpoint"));
        SimulatedRun waiting = begin(2, 0, 20);
        waiting.untilStep(6);
        waiting.disk.full = true;
        waiting.stop(false);
        waiting.after(20_000, "space", () -> waiting.disk.full = false);
        assertTrue(waiting.finish().success());
        assertEquals(waiting.step(), waiting.disk.lastCommitted());
        run.after(20_000, "again", () -> run.stop(false));
        assertTrue(run.finish().success());
        assertTrue(run.end.message().contains("no checkpoint (no space"), run.end.message());
        assertTrue(run.end.message().endsWith(run.step() + " steps are lost"), run.end.message());
    }

    @Test
    void aStopWhileTheModelWaitsForSpaceEndsTheRunWithoutIt() {
        for (boolean immediately : List.of(false, true)) {
            SimulatedRun run = pausedBeforeTheModel();
            long asked = run.now();
            run.stop(immediately);
            assertTrue(run.finish().success());
            assertEquals(asked, run.endedAt);
            assertEquals(
                    "stopped at step 10, the model is not written (no space for the model), last checkpoint "
                            + "/out/checkpoint-10; --resume latest goes on",
                    run.end.message());
        }
        SimulatedRun early = begin(3, 5, 10);
        early.until(() -> early.disk.committed.contains(10L));
        early.disk.full = true;
        early.untilState(RunState.FINISHING);
        early.stop(false);
        assertTrue(early.finish().message().contains("the model is not written"), early.end.message());
    }

    @Test
    void whatCannotBeWrittenForAnotherReasonFailsTheRun() {
        SimulatedRun run = begin(2, 5, 20);
        run.until(() -> run.disk.unfinished.size() == 1);
        run.apply(t -> run.machine.shardFailed(new ShardFailed(1, 1, 5, false, "Input/output error"), t));
        assertEquals(
                "checkpoint of step 5 failed: Input/output error", run.finish().message());
        assertEquals(Map.of(), run.disk.unfinished);
    }

    @Test
    void failuresOfAnExportThatNobodyIsAtAreDropped() {
        SimulatedRun run = begin(2, 5, 10);
        run.untilState(RunState.FINISHING);
        run.apply(t -> run.machine.exportFailed(new ExportFailed(7, 0, "no space"), t));
        run.apply(t -> run.machine.exportFailed(new ExportFailed(1, run.rank(1), "no space"), t));
        assertEquals("writing the model", run.machine.view().detail());
        run.finishDone();
    }

    @Test
    void aStopLeavesNothingUnfinishedBehind() {
        SimulatedRun run = begin(2, 3, 30);
        run.disk.slowSaveMillis = 1000;
        run.until(() -> run.disk.unfinished.size() == 1);
        run.stop(true);
        run.finish();
        assertEquals(Map.of(), run.disk.unfinished);
    }
}
