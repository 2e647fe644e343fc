package org.shardloom.worker.actor;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.worker.zero.StepRefusedException;
import org.shardloom.worker.zero.TornStepException;

/** What the coordinator hears of a step that cannot be gone on from. */
class StepAnswerTest {
    @Test
    void onlyAStateThatIsWholeIsSaved() {
        assertEquals(
                new CoordinatorMessage.StepRefused(2, 1, 7, "loss"),
                WorkerActor.step(
                        () -> {
                            throw new StepRefusedException("loss");
                        },
                        2,
                        1,
                        7));
        assertEquals(
                new WorkerFailed(2, 1, Severity.FATAL, "torn"),
                WorkerActor.step(
                        () -> {
                            throw new TornStepException("torn");
                        },
                        2,
                        1,
                        7));
    }
}
