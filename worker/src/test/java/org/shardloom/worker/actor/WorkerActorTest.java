package org.shardloom.worker.actor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.ActorTestKit;
import akka.actor.testkit.typed.javadsl.TestProbe;
import akka.actor.typed.ActorRef;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.AskJob;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.Register;
import org.shardloom.protocol.message.CoordinatorMessage.RendezvousOffer;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.worker.loop.Jobs;

/** The actor with a real session; the test plays the coordinator. */
@Timeout(60)
class WorkerActorTest {
    private static final Duration PATIENCE = Duration.ofSeconds(20);
    private static final RunSecret SECRET = RunSecret.random();
    private static ActorTestKit kit;

    @TempDir
    Path directory;

    private final TestProbe<CoordinatorMessage> coordinator = kit.createTestProbe(CoordinatorMessage.class);
    private final CompletableFuture<String> outcome = new CompletableFuture<>();
    private ActorRef<WorkerMessage> worker;

    @BeforeAll
    static void startKit() {
        kit = ActorTestKit.create();
    }

    @AfterAll
    static void stopKit() {
        kit.shutdownTestKit();
    }

    @AfterEach
    void stopActor() {
        kit.stop(worker, PATIENCE);
    }

    private void begin(int id, Optional<JobConfig> job) {
        worker = kit.spawn(WorkerActor.create(
                new WorkerActor.Setup(coordinator.getRef(), SECRET, id, job, "127.0.0.1", "here", outcome)));
    }

    private <T extends CoordinatorMessage> T expect(Class<T> type) {
        return coordinator.expectMessageClass(type, PATIENCE);
    }

    /** A worker with that number that has registered. */
    private void join(int id) throws Exception {
        begin(id, Optional.of(Jobs.write(directory)));
        expect(Register.class);
        worker.tell(new WorkerMessage.Registered(id));
    }

    private void start(long generation, String... hostKeys) {
        List<Member> members = IntStream.range(0, hostKeys.length)
                .mapToObj(i -> new Member(i, "127.0.0.1", hostKeys[i], -1, i))
                .toList();
        worker.tell(new WorkerMessage.StartGeneration(generation, Origin.START, members, null, TrainingState.START));
    }

    @Test
    void oneThatWasStartedByHandAsksForTheJobAndRegistersOnlyWhenItHasPrepared() throws Exception {
        JobConfig job = Jobs.write(directory);
        begin(-1, Optional.empty());
        AskJob ask = expect(AskJob.class);
        assertTrue(SECRET.verifies(ask.proof(), "register"));
        assertEquals("127.0.0.1", ask.host());
        coordinator.expectNoMessage(Duration.ofMillis(300));
        ask.worker().tell(new WorkerMessage.Job(job.toYaml()));
        Register register = expect(Register.class);
        assertEquals(-1, register.workerId());
        assertEquals(job.fingerprint(), register.jobFingerprint());
        worker.tell(new WorkerMessage.Registered(0));
        start(1, "here");
        assertEquals(12, expect(Ready.class).totalSteps(), "it is prepared");
        worker.tell(new WorkerMessage.Leave("enough"));
        assertNull(outcome.get(20, TimeUnit.SECONDS));
    }

    @Test
    void oneThatWasStartedByHandAndCannotPrepareSaysSoAndNeverRegisters() throws Exception {
        JobConfig job = Jobs.write(directory);
        Files.writeString(directory.resolve("train.jsonl"), "{\n");
        begin(-1, Optional.empty());
        expect(AskJob.class).worker().tell(new WorkerMessage.Job(job.toYaml()));
        String problem = outcome.get(20, TimeUnit.SECONDS);
        assertTrue(problem.contains("train.jsonl:1"), problem);
        coordinator.expectNoMessage(Duration.ofMillis(300));
    }

    @Test
    void oneThatTheCoordinatorStartedTellsItWhatIsWrong() throws Exception {
        JobConfig job = Jobs.write(directory);
        Files.writeString(directory.resolve("train.jsonl"), "{\n");
        begin(3, Optional.of(job));
        assertEquals(3, expect(Register.class).workerId());
        worker.tell(new WorkerMessage.Registered(3));
        WorkerFailed failure = expect(WorkerFailed.class);
        assertEquals(-1, failure.generation());
        assertTrue(
                failure.severity() == Severity.FATAL && failure.message().contains("train.jsonl:1"), failure.message());
        assertFalse(outcome.isDone());
    }

    @Test
    void anAbortEndsTheWaitForRanksThatDoNotCome() throws Exception {
        join(0);
        start(1, "here", "here");
        expect(RendezvousOffer.class);
        assertAborted(1);
    }

    /** The other rank is known, but nobody answers where it should be. */
    @Test
    void anAbortEndsAGroupOverTheNetworkThatIsStillGreeting() throws Exception {
        join(0);
        start(1, "here", "there");
        RendezvousOffer offer = expect(RendezvousOffer.class);
        worker.tell(new WorkerMessage.RendezvousResult(1, offer.key(), List.of(offer.offer(), offer.offer())));
        coordinator.expectNoMessage(Duration.ofMillis(700));
        assertAborted(1);
        start(2, "here");
        assertEquals(2, expect(Ready.class).generation(), "the worker is good for another generation");
    }

    private void assertAborted(long generation) {
        long asked = System.nanoTime();
        worker.tell(new WorkerMessage.AbortGeneration(generation, "worker 1 was lost"));
        WorkerFailed failure = expect(WorkerFailed.class);
        assertTrue(System.nanoTime() - asked < 2_000_000_000L, "not at once");
        assertEquals(generation, failure.generation());
        assertFalse(failure.severity() == Severity.FATAL);
        assertTrue(failure.message().contains("worker 1 was lost"), failure.message());
    }

    @Test
    void aNewGenerationEndsOneThatIsStillBeingFormed() throws Exception {
        join(0);
        start(1, "here", "there");
        expect(RendezvousOffer.class);
        start(2, "here");
        assertEquals(2, expect(Ready.class).generation());
    }
}
