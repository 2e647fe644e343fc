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

/** Workers that come, or should come, while a run goes on or begins. */
@Timeout(60)
class RunMachineNewcomerTest {
    private static SimulatedRun begin(int workers, boolean replacement, long every, long steps) {
        return new SimulatedRun(settings(workers, replacement, every), steps, 17).begin();
    }

    @Test
    void workersThatKeepDyingBeforeTheyRegisterFailTheRun() {
        SimulatedRun run = new SimulatedRun(settings(2, true, 0), 20, 3);
        run.launchesToFail = 100;
        Effect.End end = run.begin().finish();
        assertFalse(end.success());
        assertTrue(end.message().contains("keep ending"), end.message());
        assertTrue(run.workers.size() <= 8);
    }

    @Test
    void replacementsThatKeepDyingAreDoneWithout() {
        SimulatedRun run = begin(3, true, 4, 30);
        run.untilStep(6);
        run.launchesToFail = 100;
        run.kill(run.rank(1));
        run.finishDone();
        assertEquals(2, run.published.get(run.published.size() - 1).workers());
    }

    @Test
    void aWorkerThatJoinsByHandReplacesALostOne() {
        SimulatedRun run =
                new SimulatedRun(new RunSettings(3, 3, false, 0, 0, 10_000, SimulatedRun.OUT, null), 50, 3).begin();
        run.untilStep(5);
        run.kill(run.rank(1));
        run.untilState(RunState.RECOVERING);
        run.after(3000, "join", run::joinByHand);
        run.finishDone();
        assertEquals(3, run.published.get(run.published.size() - 1).workers());
    }

    @Test
    void aWaitingNewWorkerThatDiesChangesNothing() {
        for (RunState state : List.of(RunState.LOADING, RunState.TRAINING)) {
            SimulatedRun run = begin(2, true, 0, 100);
            if (state == RunState.TRAINING) {
                run.untilStep(3);
            }
            run.untilState(state);
            long request = run.scale(4);
            run.until(() -> run.machine.view().workers().size() == 3);
            run.kill(run.machine.view().workers().get(2).id());
            run.until(() -> run.scaleAnswers.containsKey(request));
            assertTrue(run.scaleAnswers.get(request).contains("ended before"));
            run.until(() -> run.living() == 2);
            run.finishDone();
            assertEquals(1, run.generations.size());
        }
    }

    @Test
    void aNewWorkerThatCannotPrepareIsSentAway() {
        SimulatedRun run = begin(2, true, 0, 60);
        run.untilStep(3);
        int id = run.joinByHand();
        run.apply(t -> run.machine.failed(new WorkerFailed(-1, id, Severity.FATAL, "no such file"), t));
        run.until(() -> run.living() == 2);
        run.finishDone();
        SimulatedRun first = begin(2, true, 0, 60);
        first.untilState(RunState.LOADING);
        first.apply(t -> first.machine.failed(new WorkerFailed(-1, 0, Severity.FATAL, "no such file"), t));
        assertEquals("no such file", first.finish().message());
    }
}
