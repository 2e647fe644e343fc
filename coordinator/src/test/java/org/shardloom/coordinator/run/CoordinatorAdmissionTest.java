package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.TestProbe;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;

/** Who may take part in a run. */
class CoordinatorAdmissionTest extends CoordinatorFixture {
    @Test
    void whoDoesNotKnowTheSecretIsRefused() throws Exception {
        begin(1, 0);
        TestProbe<WorkerMessage> stranger = register(0, RunSecret.random(), "fingerprint");
        assertTrue(stranger.expectMessageClass(WorkerMessage.Refused.class, PATIENCE)
                .reason()
                .contains("secret"));
        assertEquals(List.of(), view().workers());
    }

    @Test
    void aWorkerOfAnotherJobIsRefused() throws Exception {
        begin(2, 0);
        TestProbe<WorkerMessage> other = register(0, secret, "another");
        assertTrue(other.expectMessageClass(WorkerMessage.Refused.class, PATIENCE)
                .reason()
                .contains("another job"));
        assertEquals(List.of(), view().workers());
    }

    @Test
    void aWorkerThatWasStartedByHandIsWaitedForOnlyOnceItHasPrepared() throws Exception {
        begin(1, 0);
        TestProbe<WorkerMessage> zero = join(0);
        ready(zero, 0);
        TestProbe<WorkerMessage> stranger = askJob(RunSecret.random());
        assertTrue(stranger.expectMessageClass(WorkerMessage.Refused.class, PATIENCE)
                .reason()
                .contains("secret"));
        TestProbe<WorkerMessage> byHand = askJob(secret);
        assertEquals(
                "the job",
                byHand.expectMessageClass(WorkerMessage.Job.class, PATIENCE).yaml());
        assertTrue(notices.contains("a worker of 10.0.0.7 (process 77) prepares to take part"), notices.toString());
        step(zero, 0);
        assertEquals(1, view().wantedWorkers(), "the run goes on meanwhile");
        assertEquals(1, view().workers().size());
        coordinator.tell(new CoordinatorMessage.Register(
                -1,
                secret.proof(CoordinatorActor.REGISTER),
                "fingerprint",
                "content",
                "10.0.0.7",
                "key",
                77,
                "cpu",
                byHand.getRef()));
        assertEquals(
                1,
                byHand.expectMessageClass(WorkerMessage.Registered.class, PATIENCE)
                        .workerId());
        zero.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        assertEquals(2, view().wantedWorkers());
        coordinator.tell(new CoordinatorMessage.StepDone(
                1,
                0,
                new TrainingState(2, 2, 0, 0, GuardState.START),
                new StepReport(1, 1, true, 1, 1, 1, 1, Map.of(), 1, 1)));
        WorkerMessage.StartGeneration start = byHand.expectMessageClass(WorkerMessage.StartGeneration.class, PATIENCE);
        assertEquals(WorkerMessage.Origin.RESHARD, start.origin());
        assertEquals(2, start.members().size());
    }

    @Test
    void aWorkerThatHasReadOtherDataIsRefused() throws Exception {
        begin(2, 0);
        join(0);
        TestProbe<WorkerMessage> other = register(1, secret, "fingerprint", "other content");
        String reason =
                other.expectMessageClass(WorkerMessage.Refused.class, PATIENCE).reason();
        assertTrue(reason.contains("training data") && reason.contains("not those of the run"), reason);
        // One that could not read its files says so itself once it takes part.
        register(1, secret, "fingerprint", "").expectMessageClass(WorkerMessage.Registered.class, PATIENCE);
    }

    @Test
    void aSecondWorkerOfTheSameNumberIsRefused() throws Exception {
        begin(2, 0);
        join(0);
        TestProbe<WorkerMessage> twin = register(0, secret, "fingerprint");
        assertTrue(twin.expectMessageClass(WorkerMessage.Refused.class, PATIENCE)
                .reason()
                .contains("already"));
        assertEquals(1, view().workers().size());
    }
}
