package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.coordinator.run.SimulatedRun.settings;

import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.config.ScheduleConfig;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;

/** Runs without losses: steps, checkpoints, scaling, stopping. */
@Timeout(60)
class RunMachineTest {
    private static SimulatedRun begin(int workers, long every, long steps) {
        return new SimulatedRun(settings(workers, true, every), steps, 11).begin();
    }

    @Test
    void aRunDoesEveryStepOnceAndCheckpointsOnTheWay() {
        SimulatedRun run = begin(3, 4, 10);
        run.finishDone();
        assertEquals(
                LongStream.rangeClosed(1, 10).boxed().toList(),
                run.published.stream().map(StepMetrics::step).toList());
        assertEquals(List.of(4L, 8L, 10L), run.disk.committed);
        assertEquals(
                List.of(RunState.ASSEMBLING, RunState.LOADING, RunState.TRAINING, RunState.FINISHING, RunState.DONE),
                run.states);
        assertEquals(1, run.generations.size());
    }

    @Test
    void aCheckpointThatFallsOnTheLastStepIsWrittenOnce() {
        SimulatedRun run = begin(2, 5, 10);
        run.finishDone();
        assertEquals(List.of(5L, 10L), run.disk.committed);
    }

    @Test
    void withoutStepsThereIsNothingToDo() {
        assertTrue(begin(1, 1, 0).finish().success());
    }

    @Test
    void stepsKeepTheirLeastTime() {
        SimulatedRun run = new SimulatedRun(new RunSettings(2, 1, true, 0, 1.0, 10_000, SimulatedRun.OUT, null), 5, 3);
        run.begin();
        run.untilStep(1);
        long first = run.now();
        run.untilStep(5);
        assertTrue(run.now() - first >= 3900, () -> "4 steps in " + (run.now() - first));
    }

    @Test
    void aRunGoesOnFromTheCheckpointThatItIsGiven() {
        RunSettings resumed = new RunSettings(2, 1, true, 0, 0, 10_000, SimulatedRun.OUT, "/out/checkpoint-6");
        SimulatedRun run = new SimulatedRun(resumed, 10, 3).begin();
        run.finishDone();
        assertEquals(7, run.published.get(0).step());
        assertEquals(List.of(10L), run.disk.committed);
    }

    @Test
    void aFinishedCheckpointIsOnlyExported() {
        RunSettings resumed = new RunSettings(2, 1, true, 0, 0, 10_000, SimulatedRun.OUT, "/out/checkpoint-10");
        SimulatedRun run = new SimulatedRun(resumed, 10, 3).begin();
        assertTrue(run.finish().success());
        assertTrue(run.published.isEmpty());
        assertTrue(run.states.contains(RunState.FINISHING));
    }

    @Test
    void scalingDownSendsTheLastRanksAway() {
        SimulatedRun run = begin(4, 0, 40);
        run.untilStep(5);
        List<Integer> stay = List.of(run.rank(0), run.rank(1));
        long request = run.scale(2);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertNull(run.scaleAnswers.get(request));
        run.until(() -> run.living() == 2);
        assertEquals(stay, List.of(run.rank(0), run.rank(1)));
        run.untilStep(12);
        assertEquals(2, run.generations.size());
        assertFalse(run.states.contains(RunState.RECOVERING), "a worker that left is no loss");
        run.finishDone();
    }

    @Test
    void scalingUpAddsWorkersWithoutLosingAStep() {
        SimulatedRun run = begin(2, 0, 60);
        run.untilStep(5);
        long request = run.scale(4);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertNull(run.scaleAnswers.get(request));
        assertEquals(4, run.ranked());
        run.finishDone();
        assertEquals(60, run.published.size());
    }

    @Test
    void scalingInEveryStateIsAnsweredAndHappens() {
        for (RunState state : List.of(RunState.ASSEMBLING, RunState.LOADING, RunState.TRAINING, RunState.RESIZING)) {
            for (int count : List.of(1, 2, 3, 4, 5)) {
                SimulatedRun run = begin(3, 3, 60);
                if (state == RunState.RESIZING) {
                    run.untilStep(4);
                    run.scale(2);
                }
                run.untilState(state);
                long request = run.scale(count);
                run.until(() -> run.scaleAnswers.containsKey(request));
                assertNull(run.scaleAnswers.get(request), state + " to " + count);
                run.until(() -> run.living() == count);
                run.finishDone();
                assertEquals(60, run.published.size());
            }
        }
    }

    @Test
    void scalingWaitsForTheStepAndTheCheckpointInHand() {
        SimulatedRun run = begin(4, 3, 30);
        run.disk.commitMillis = 500;
        run.untilStep(3);
        long request = run.scale(2);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertEquals(List.of(3L), run.disk.committed);
        run.finishDone();
    }

    @Test
    void theLaterOfTwoQuickRequestsHolds() {
        SimulatedRun run = begin(2, 0, 60);
        run.untilStep(3);
        long first = run.scale(5);
        long second = run.scale(3);
        run.until(() -> run.scaleAnswers.containsKey(second));
        assertTrue(run.scaleAnswers.get(first).startsWith("replaced"));
        assertNull(run.scaleAnswers.get(second));
        run.until(() -> run.living() == 3);
        run.finishDone();
    }

    @Test
    void theSameNumberIsAnsweredAtOnceAndChangesNothing() {
        SimulatedRun run = begin(3, 0, 20);
        run.untilStep(2);
        long request = run.scale(3);
        assertTrue(run.scaleAnswers.containsKey(request));
        run.finishDone();
        assertEquals(1, run.generations.size());
    }

    @Test
    void growingAgainWhileShrinkingStartsNewWorkers() {
        SimulatedRun run = begin(4, 0, 60);
        run.untilStep(3);
        run.scale(2);
        run.untilState(RunState.RESIZING);
        long request = run.scale(4);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertNull(run.scaleAnswers.get(request));
        assertEquals(4, run.ranked());
        run.finishDone();
    }

    @Test
    void fewerThanTheLeastWorkersAreRefused() {
        SimulatedRun run = new SimulatedRun(new RunSettings(3, 2, true, 0, 0, 10_000, SimulatedRun.OUT, null), 20, 3);
        run.begin().untilStep(2);
        assertTrue(run.scaleAnswers.get(run.scale(1)).contains("min_workers"));
        assertNotNull(run.scaleAnswers.get(run.scale(0)));
        run.finishDone();
    }

    @Test
    void aNewWorkerThatNeverComesFailsTheScalingOnly() {
        SimulatedRun run = begin(2, 0, 400);
        run.untilStep(3);
        run.launchesToFail = 1;
        long request = run.scale(4);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertTrue(run.scaleAnswers.get(request).contains("ended before"), run.scaleAnswers.get(request));
        run.until(() -> run.living() == 2);
        run.finishDone();
        assertEquals(1, run.generations.size());
    }

    @Test
    void aNewWorkerThatHangsFailsTheScalingAfterAWhile() {
        SimulatedRun run = new SimulatedRun(settings(2, true, 0), 1000, 3).begin();
        run.untilStep(3);
        run.hangLaunches = true;
        long request = run.scale(3);
        run.until(() -> run.scaleAnswers.containsKey(request));
        assertTrue(run.scaleAnswers.get(request).contains("within 10 s"), run.scaleAnswers.get(request));
        run.stop(false);
        run.finish();
    }

    @Test
    void aWorkerThatIsStartedByHandMakesTheRunGrow() {
        SimulatedRun run = begin(2, 0, 60);
        run.untilStep(3);
        int id = run.joinByHand();
        run.until(() -> run.ranked() == 3);
        assertEquals(id, run.rank(2));
        run.finishDone();
        SimulatedRun early = begin(2, 0, 20);
        early.joinByHand();
        early.finishDone();
        assertEquals(3, early.generations.get(0).members().size());
    }

    @Test
    void stoppingInEveryStateEndsTheRunAndKeepsTheWork() {
        for (boolean immediately : List.of(false, true)) {
            for (RunState state : List.of(
                    RunState.ASSEMBLING,
                    RunState.LOADING,
                    RunState.TRAINING,
                    RunState.RESIZING,
                    RunState.RECOVERING,
                    RunState.FINISHING)) {
                SimulatedRun run = begin(3, 3, 8);
                if (state == RunState.RESIZING || state == RunState.RECOVERING) {
                    run.untilStep(4);
                    run.after(1, "reason", () -> {
                        if (state == RunState.RESIZING) {
                            run.scale(2);
                        } else {
                            run.kill(run.rank(1));
                        }
                    });
                } else if (state == RunState.TRAINING) {
                    run.untilStep(4);
                }
                run.untilState(state);
                long step = run.step();
                long asked = run.now();
                run.stop(immediately);
                assertTrue(run.finish().success(), state + " " + immediately);
                boolean checkpointed = !immediately && (state == RunState.TRAINING || state == RunState.RESIZING);
                if (checkpointed) {
                    assertTrue(run.disk.committed.get(run.disk.committed.size() - 1) >= step, run::tail);
                }
                if (immediately) {
                    assertEquals(0, run.endedAt - asked);
                }
                assertEquals(
                        !immediately && state == RunState.FINISHING,
                        run.end.message().startsWith("done"));
            }
        }
    }

    @Test
    void messagesOfAnotherGenerationAreDropped() {
        SimulatedRun run = begin(2, 0, 30);
        run.untilStep(2);
        long step = run.step();
        StepReport report = new StepReport(1, 1, true, 1, 1, 1, 1, Map.of(), 1, 1);
        for (long generation : List.of(0L, 2L)) {
            for (int id : List.of(0, 1)) {
                TrainingState state = new TrainingState(99, 99, 0, 0, GuardState.START);
                run.apply(t -> run.machine.stepDone(new StepDone(generation, id, state, report), t));
                run.apply(t -> run.machine.ready(new Ready(generation, id, 5, List.of(), "", "", state), t));
            }
        }
        assertEquals(step, run.step());
        run.finishDone();
        assertEquals(30, run.published.size());
    }

    @Test
    void workersThatDoNotComeInTimeAreDoneWithout() {
        SimulatedRun run = new SimulatedRun(settings(3, true, 0), 20, 3);
        run.hangLaunchesAfter = 2;
        run.begin();
        run.finishDone();
        assertEquals(2, run.published.get(0).workers());
        SimulatedRun short2 =
                new SimulatedRun(new RunSettings(3, 3, true, 0, 0, 10_000, SimulatedRun.OUT, null), 20, 3);
        short2.hangLaunchesAfter = 2;
        Effect.End end = short2.begin().finish();
        assertFalse(end.success());
        assertEquals("only 2 of 3 workers came within 10 s", end.message());
    }

    @Test
    void trainingEndsWhenEvaluationsFindNoLowerLossForLongEnough() {
        RunSettings patient = new RunSettings(
                2, 1, true, 0, 0, 10_000, SimulatedRun.OUT, null, 2, EvaluationHistory.NONE, ScheduleConfig.constant());
        SimulatedRun run = new SimulatedRun(patient, 40, 3);
        double[] losses = {3, 2, 2.5, 1.5, 1.6, 1.5, 1};
        run.evaluated = step -> step % 5 == 0 ? losses[(int) step / 5 - 1] : null;
        run.begin();
        assertTrue(run.finish().success());
        assertEquals(30, run.published.get(run.published.size() - 1).step());
        assertEquals(List.of(30L), run.disk.committed);
        assertTrue(
                run.notices.stream().anyMatch(n -> n.contains("no lower loss than that after step 20")),
                run.notices.toString());
        assertEquals(1.6, run.published.get(24).evaluation().loss());
    }

    @Test
    void aResumedRunCountsOnFromTheEvaluationsBefore() {
        EvaluationHistory before = new EvaluationHistory(1.5, 20, 25, 1);
        RunSettings patient = new RunSettings(
                2, 1, true, 0, 0, 10_000, SimulatedRun.OUT, "/out/checkpoint-25", 2, before, ScheduleConfig.constant());
        SimulatedRun run = new SimulatedRun(patient, 40, 3);
        run.disk.complete.put("/out/checkpoint-25", 25L);
        run.evaluated = step -> step % 5 == 0 ? 1.6 : null;
        run.begin();
        assertTrue(run.finish().success());
        assertEquals(30, run.published.get(run.published.size() - 1).step());

        EvaluationHistory over = new EvaluationHistory(1.5, 20, 30, 2);
        SimulatedRun ended = new SimulatedRun(
                new RunSettings(
                        2,
                        1,
                        true,
                        0,
                        0,
                        10_000,
                        SimulatedRun.OUT,
                        "/out/checkpoint-30",
                        2,
                        over,
                        ScheduleConfig.constant()),
                40,
                3);
        ended.disk.complete.put("/out/checkpoint-30", 30L);
        ended.begin();
        assertTrue(ended.finish().success());
        assertEquals(List.of(), ended.published);
        assertTrue(ended.notices.stream().anyMatch(n -> n.contains("evaluation.patience")), ended.notices.toString());
    }
}
