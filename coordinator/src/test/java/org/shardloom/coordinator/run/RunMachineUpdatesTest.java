package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.coordinator.run.SimulatedRun.settings;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.config.ScheduleConfig;

/** Steps whose updates are refused, left out or without effect. */
@Timeout(60)
class RunMachineUpdatesTest {
    @Test
    void aStepThatWorkersRefuseIsNotTakenAndWhatWasBeforeIsSaved() {
        SimulatedRun run = new SimulatedRun(settings(3, true, 4), 20, 5);
        run.refusedStep = 7;
        run.begin();
        Effect.End end = run.finish();
        assertFalse(end.success());
        assertEquals(List.of(4L, 6L), run.disk.committed);
        assertEquals(6, run.published.get(run.published.size() - 1).step());
        assertTrue(end.message().startsWith("paused before step 7: the gradient has exploded"), end.message());
        assertTrue(end.message().contains("checkpoint-6, from which --resume latest goes on"), end.message());
    }

    private static String endOf(int steps, double learningRate, int leftOutStep) {
        SimulatedRun run = new SimulatedRun(settings(2, true, 0), steps, 5);
        run.learningRate = step -> step == steps ? 0 : learningRate;
        run.leftOutStep = leftOutStep;
        run.begin();
        run.finishDone();
        return run.end.message();
    }

    @Test
    void aRunThatTrainedNothingSaysSoAndWhy() {
        String zero = endOf(1, 1e-4, 0);
        assertTrue(zero.startsWith("done: 1 steps"), zero);
        assertTrue(zero.contains("; but nothing was trained: the learning rate was 0 in every step."), zero);
        assertTrue(zero.contains("train.max_steps") && zero.contains("train.schedule.type: constant"), zero);
        String leftOut = endOf(2, 1e-4, 1);
        assertTrue(
                leftOut.endsWith("; but nothing was trained: every update with a learning rate above 0 was left out"),
                leftOut);
        assertFalse(endOf(2, 1e-4, 2).contains("nothing"));
        assertFalse(endOf(2, 1e-4, 0).contains("nothing"));
    }

    /** What is said before the first step of a run of so many steps. */
    private static List<String> warned(int steps, ScheduleConfig schedule) {
        RunSettings settings =
                new RunSettings(2, 1, true, 0, 0, 10_000, SimulatedRun.OUT, null, 0, EvaluationHistory.NONE, schedule);
        SimulatedRun run = new SimulatedRun(settings, steps, 5).begin();
        run.finishDone();
        List<String> warnings = run.notices.stream()
                .filter(n -> n.contains("nothing will be trained"))
                .toList();
        assertTrue(warnings.isEmpty()
                || run.notices.indexOf(warnings.get(0))
                        < run.notices.indexOf("training with 2 workers (generation 1)"));
        return warnings;
    }

    @Test
    void aRunThatWillTrainNothingSaysSoBeforeItBegins() {
        for (ScheduleConfig.Type type : ScheduleConfig.Type.values()) {
            boolean decays = type != ScheduleConfig.Type.CONSTANT;
            assertEquals(
                    decays
                            ? List.of("nothing will be trained: the learning rate is 0 in every step. A schedule that"
                                    + " decays ends at 0; take more steps (train.max_steps),"
                                    + " train.schedule.warmup_steps: 1 or train.schedule.type: constant")
                            : List.of(),
                    warned(1, new ScheduleConfig(type, 0, 0)));
            assertEquals(List.of(), warned(1, new ScheduleConfig(type, 1, 0)));
            assertEquals(List.of(), warned(1, new ScheduleConfig(type, 0, 0.1)));
            assertEquals(List.of(), warned(2, new ScheduleConfig(type, 0, 0)));
        }
    }

    @Test
    void aStepThatIsLeftOutIsToldUnlessItOverflowed() {
        for (double norm : new double[] {1234, Double.POSITIVE_INFINITY, Double.NaN}) {
            SimulatedRun run = new SimulatedRun(settings(3, true, 0), 10, 5);
            run.leftOutStep = 7;
            run.gradNorm = norm;
            run.begin();
            run.finishDone();
            assertEquals(
                    norm == 1234
                            ? List.of("step 7 is left out (train.spike.action: skip), with"
                                    + " loss 0.143 and gradient norm 1.23e+03")
                            : List.of(),
                    run.notices.stream().filter(n -> n.contains("left out")).toList());
        }
    }

    @Test
    void aFirstStepThatWorkersRefuseLeavesNothingToSave() {
        SimulatedRun run = new SimulatedRun(settings(2, true, 4), 20, 5);
        run.refusedStep = 1;
        run.begin();
        Effect.End end = run.finish();
        assertFalse(end.success());
        assertEquals(List.of(), run.disk.committed);
        assertEquals("paused before step 1: the gradient has exploded", end.message());
    }
}
