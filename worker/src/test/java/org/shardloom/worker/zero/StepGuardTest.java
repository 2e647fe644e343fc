package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.SpikeConfig.Action;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.worker.zero.StepGuard.Verdict;

/** Which steps are refused, skipped or let through, and what is said of them. */
class StepGuardTest {
    private static StepGuard settled(Action action) {
        StepGuard guard = new StepGuard(new SpikeConfig(action, 100));
        for (int i = 0; i < 40; i++) {
            assertEquals(Verdict.APPLY, guard.judge(2.0 - i * 0.02, 0.5 + i % 3));
        }
        return guard;
    }

    @ParameterizedTest
    @CsvSource({
        "1.3, 5000, exploded, train.learning_rate",
        "0, 1, collapsed, precision: bf16",
        "1e-9, 1, collapsed, precision: bf16",
        "1.3, 0, vanished, precision: bf16"
    })
    void aStepUnlikeThoseBeforeIsRefusedWithTheSettingToChange(double loss, double norm, String what, String advice) {
        StepGuard guard = settled(Action.PAUSE);
        String message = assertThrows(StepRefusedException.class, () -> guard.judge(loss, norm))
                .getMessage();
        assertTrue(
                message.contains(what) && message.contains(advice) && message.contains("train.spike.action"), message);
        assertEquals(Verdict.APPLY, settled(Action.IGNORE).judge(loss, norm));
    }

    @Test
    void ordinaryUnrestIsLetThrough() {
        StepGuard guard = settled(Action.PAUSE);
        assertEquals(Verdict.APPLY, guard.judge(4, 40));
        assertEquals(Verdict.APPLY, guard.judge(0.3, 0.01));
        assertEquals(Verdict.APPLY, guard.judge(0.05, 0.001));
        for (double loss = 0.05; loss > 1e-9; loss /= 50) {
            assertEquals(Verdict.APPLY, guard.judge(loss, 0.01 * loss), "samples learned by heart");
        }
        for (int i = 0; i < 100; i++) {
            assertEquals(Verdict.APPLY, guard.judge(1e-7, 1e-6), "still");
        }
        assertEquals(Verdict.APPLY, guard.judge(2, 5), "and then another sample");
        assertEquals(Verdict.APPLY, guard.judge(1e-7, 1e-6), "and one that is known again");
        StepGuard fresh = new StepGuard(new SpikeConfig(Action.PAUSE, 100));
        assertEquals(Verdict.APPLY, fresh.judge(10, 1e6));
        assertEquals(Verdict.APPLY, fresh.judge(5, 10));
        assertEquals(Verdict.APPLY, fresh.judge(8, 1e6), "nothing is usual yet");
        for (double loss : new double[] {1, 1e-2, 5e-4, 0, 0}) {
            assertEquals(Verdict.APPLY, fresh.judge(loss, loss), "learned by heart to the last bit");
        }
    }

    @Test
    void aCollapseInTwoStepsIsOne() {
        for (double between : new double[] {5e-4, 3e-4}) {
            StepGuard guard = settled(Action.PAUSE);
            assertEquals(Verdict.APPLY, guard.judge(2, 1));
            assertEquals(Verdict.APPLY, guard.judge(between, 1));
            String message = assertThrows(StepRefusedException.class, () -> guard.judge(0, 1))
                    .getMessage();
            assertTrue(message.contains("collapsed"), message);
        }
        StepGuard young = new StepGuard(new SpikeConfig(Action.PAUSE, 100));
        young.judge(2, 1);
        young.judge(5e-4, 1);
        assertThrows(StepRefusedException.class, () -> young.judge(0, 0));
    }

    @Test
    void lossesOfNothingAreForgottenLikeOthers() {
        GuardState ofNothing = new GuardState(60, 0, 0, 0, 0, 0, 0);
        for (GuardState start : new GuardState[] {null, ofNothing}) {
            StepGuard guard = settled(Action.PAUSE);
            if (start == null) {
                for (double loss : new double[] {0.1, 1e-3, 1e-5, 0, 0}) {
                    assertEquals(Verdict.APPLY, guard.judge(loss, loss));
                }
            } else {
                guard.restore(start);
            }
            for (int i = 0; i < 100; i++) {
                assertEquals(Verdict.APPLY, guard.judge(2, 1), "other samples");
            }
            String message = assertThrows(StepRefusedException.class, () -> guard.judge(0, 1))
                    .getMessage();
            assertTrue(message.contains("collapsed"), message);
            message = assertThrows(StepRefusedException.class, () -> guard.judge(2, 1e-8))
                    .getMessage();
            assertTrue(message.contains("vanished"), message);
        }
    }

    @Test
    void whatIsNothingFromTheBeginningIsRefused() {
        for (double[] step : new double[][] {{0, 0}, {0, 1}, {3, 0}}) {
            StepGuard fresh = new StepGuard(new SpikeConfig(Action.PAUSE, 100));
            String message = assertThrows(StepRefusedException.class, () -> fresh.judge(step[0], step[1]))
                    .getMessage();
            assertTrue(message.contains("in the first step") && message.contains("precision: bf16"), message);
        }
        StepGuard second = new StepGuard(new SpikeConfig(Action.PAUSE, 100));
        second.judge(7, 3);
        String message = assertThrows(StepRefusedException.class, () -> second.judge(0, 1))
                .getMessage();
        assertTrue(message.contains("collapsed"), message);
    }

    @Test
    void anotherGuardGoesOnWithWhatIsUsual() {
        StepGuard settled = settled(Action.PAUSE);
        StepGuard next = new StepGuard(new SpikeConfig(Action.PAUSE, 100));
        next.restore(settled.state());
        assertEquals(settled.state(), next.state());
        assertThrows(StepRefusedException.class, () -> next.judge(1.3, 5000));
        assertEquals(Verdict.APPLY, next.judge(1.3, 2));
    }

    @Test
    void skippedStepsAreForgottenButNotForEver() {
        StepGuard guard = settled(Action.SKIP);
        for (int i = 0; i < 9; i++) {
            assertEquals(Verdict.SKIP, guard.judge(1.3, 1e4));
        }
        assertEquals(Verdict.APPLY, guard.judge(1.3, 1));
        for (int i = 0; i < 9; i++) {
            assertEquals(Verdict.SKIP, guard.judge(1.3, 1e4));
        }
        String message = assertThrows(StepRefusedException.class, () -> guard.judge(1.3, 1e4))
                .getMessage();
        assertTrue(message.contains("10 steps in a row were like this"), message);
    }

    @Test
    void overflowsAtTheLowestScaleEndIt() {
        StepGuard guard = settled(Action.IGNORE);
        guard.overflow(1024);
        guard.overflow(1);
        guard.judge(1, 1);
        guard.overflow(1);
        String message = assertThrows(StepRefusedException.class, () -> guard.overflow(1))
                .getMessage();
        assertTrue(message.contains("floor") && message.contains("precision: bf16"), message);
    }
}
