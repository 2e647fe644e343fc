package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.TestProbe;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.plan.UnitSize;

/** How the actor carries a run out. */
class CoordinatorActorTest extends CoordinatorFixture {
    @Test
    void aShortRunGoesFromTheFirstWorkerToTheExport() throws Exception {
        begin(2, 2);
        TestProbe<WorkerMessage> zero = join(0);
        TestProbe<WorkerMessage> one = join(1);
        assertEquals(List.of(0, 1), launcher.launched);
        WorkerMessage.StartGeneration start = zero.expectMessageClass(WorkerMessage.StartGeneration.class, PATIENCE);
        assertEquals(List.of(0, 1), start.members().stream().map(Member::rank).toList());
        for (int rank = 0; rank < 2; rank++) {
            coordinator.tell(new CoordinatorMessage.RendezvousOffer(1, rank, "g", rank, 2, new byte[] {(byte) rank}));
        }
        assertEquals(
                2,
                zero.expectMessageClass(WorkerMessage.RendezvousResult.class, PATIENCE)
                        .offers()
                        .size());
        coordinator.tell(new CoordinatorMessage.Ready(
                1, 0, 3, List.of(new UnitSize("u", 10)), "{}", "data", TrainingState.START));
        one.expectMessageClass(WorkerMessage.StartGeneration.class, PATIENCE);
        one.expectMessageClass(WorkerMessage.RendezvousResult.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.Ready(
                1, 1, 3, List.of(new UnitSize("u", 10)), "{}", "data", TrainingState.START));
        for (int step = 1; step <= 3; step++) {
            step(zero, 0);
            step(one, 1);
            if (step >= 2) {
                save(zero, 0, 0);
                save(one, 1, 1);
            }
        }
        WorkerMessage.ExportFinal export = zero.expectMessageClass(WorkerMessage.ExportFinal.class, PATIENCE);
        assertEquals(out.resolve("checkpoint-3").toString(), export.checkpoint());
        coordinator.tell(new CoordinatorMessage.Exported(1, 0, export.directory()));
        zero.expectMessageClass(WorkerMessage.Leave.class, PATIENCE);
        one.expectMessageClass(WorkerMessage.Leave.class, PATIENCE);
        CoordinatorActor.Outcome result = outcome.get(10, TimeUnit.SECONDS);
        assertTrue(result.success(), result.message());
        assertEquals(3, Files.readAllLines(out.resolve("metrics.jsonl")).size());
        assertTrue(Files.exists(out.resolve("checkpoint-2/manifest.pb")));
        assertTrue(Files.exists(out.resolve("checkpoint-3/manifest.pb")));
    }

    @Test
    void aWorkerThatStopsIsNoticedAndReplaced() throws Exception {
        begin(2, 0);
        TestProbe<WorkerMessage> zero = join(0);
        TestProbe<WorkerMessage> one = join(1);
        ready(zero, 0);
        ready(one, 1);
        zero.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        one.stop();
        zero.expectMessageClass(WorkerMessage.AbortGeneration.class, PATIENCE);
        assertEquals(RunState.RECOVERING, view().state());
        launcher.onExit.accept(1, "its process ended with status 1");
        assertEquals(List.of(0, 1, 2), launcher.launched);
        assertEquals(List.of(1), launcher.killed);
        TestProbe<WorkerMessage> two = join(2);
        ready(zero, 0);
        ready(two, 2);
        zero.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        assertEquals(1, notices.stream().filter(n -> n.contains("was lost")).count());
    }

    @Test
    void everyOneWhoAsksForANumberOfWorkersIsAnswered() throws Exception {
        begin(1, 0);
        TestProbe<WorkerMessage> zero = join(0);
        ready(zero, 0);
        zero.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        CompletableFuture<String> first = new CompletableFuture<>();
        CompletableFuture<String> second = new CompletableFuture<>();
        CompletableFuture<String> late = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.Scale(3, first));
        coordinator.tell(new CoordinatorActor.Scale(2, second));
        assertTrue(first.get(10, TimeUnit.SECONDS).startsWith("replaced"));
        CompletableFuture<String> stopping = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.Stop(false, stopping));
        coordinator.tell(new CoordinatorActor.Scale(4, late));
        assertEquals("the run is ending", late.get(10, TimeUnit.SECONDS));
        assertFalse(second.isDone());
        CompletableFuture<String> stopped = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.Stop(true, stopped));
        assertNull(stopping.get(10, TimeUnit.SECONDS));
        assertEquals("stopped at step 0, no checkpoint", stopped.get(10, TimeUnit.SECONDS));
        assertTrue(second.get(10, TimeUnit.SECONDS).startsWith("the run has ended"));
        assertTrue(outcome.get(10, TimeUnit.SECONDS).success());
    }

    @Test
    void whatIsInTheWayOfACheckpointIsRemovedAndAFatalFailureIsReported() throws Exception {
        begin(1, 1);
        TestProbe<WorkerMessage> zero = join(0);
        Files.writeString(out.resolve("checkpoint-1.writing"), "in the way");
        ready(zero, 0);
        step(zero, 0);
        save(zero, 0, 0);
        step(zero, 0);
        Files.createDirectory(out.resolve("checkpoint-2"));
        Files.writeString(out.resolve("checkpoint-2/in-the-way"), "");
        save(zero, 0, 0);
        WorkerMessage.RunStep third = zero.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        assertEquals(3, third.step());
        assertNull(outcome.getNow(null));
        coordinator.tell(new CoordinatorMessage.WorkerFailed(1, 0, Severity.FATAL, "the loss is not finite"));
        assertEquals("the loss is not finite", outcome.get(10, TimeUnit.SECONDS).message());
    }

    @Test
    void anEvaluationThatFailsOrWhoseAnswersCannotBeWrittenDoesNotEndTheRun() throws Exception {
        begin(1, 0);
        Files.writeString(out.resolve("evaluations"), "a file where the directory should be");
        TestProbe<WorkerMessage> zero = join(0);
        ready(zero, 0);
        EvaluationReport.Answer answer = new EvaluationReport.Answer(0, "q", "a", "a", Map.of("exact-match", 1.0));
        step(zero, 0, new EvaluationReport(1.5, 4, List.of(answer), 0.1, null));
        step(zero, 0, new EvaluationReport(Double.NaN, 4, List.of(), 0.1, "the loss could not be measured: why"));
        step(zero, 0);
        save(zero, 0, 0);
        WorkerMessage.ExportFinal export = zero.expectMessageClass(WorkerMessage.ExportFinal.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.Exported(1, 0, export.directory()));
        assertTrue(outcome.get(10, TimeUnit.SECONDS).success());
        String said = String.join("\n", notices);
        assertTrue(said.contains("the answers of the evaluation could not be written: "), said);
        assertTrue(said.contains("evaluation: the loss could not be measured: why"), said);
        List<String> lines = Files.readAllLines(out.resolve("metrics.jsonl"));
        assertEquals(3, lines.size());
        ObjectMapper json = new ObjectMapper();
        assertEquals(1.5, json.readTree(lines.get(0)).path("eval_loss").asDouble());
        assertFalse(json.readTree(lines.get(1)).path("eval_loss").isNumber(), lines.get(1));
    }
}
