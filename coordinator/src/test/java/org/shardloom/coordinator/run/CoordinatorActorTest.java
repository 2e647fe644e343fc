package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.ActorTestKit;
import akka.actor.testkit.typed.javadsl.TestProbe;
import akka.actor.typed.ActorRef;
import akka.cluster.typed.Cluster;
import akka.cluster.typed.Join;
import com.typesafe.config.ConfigFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.plan.UnitSize;

/** The actor in a cluster of one node; the test plays the workers. */
@Timeout(60)
class CoordinatorActorTest {
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static ActorTestKit kit;

    @TempDir
    Path out;

    private final RunSecret secret = RunSecret.random();
    private final FakeLauncher launcher = new FakeLauncher();
    private final List<String> notices = new CopyOnWriteArrayList<>();
    private final CompletableFuture<CoordinatorActor.Outcome> outcome = new CompletableFuture<>();
    private ActorRef<CoordinatorMessage> coordinator;

    private static final class FakeLauncher implements WorkerLauncher {
        final List<Integer> launched = new CopyOnWriteArrayList<>();
        final List<Integer> killed = new CopyOnWriteArrayList<>();
        volatile BiConsumer<Integer, String> onExit;

        @Override
        public void launch(int workerId, String address, BiConsumer<Integer, String> whenEnded) {
            assertTrue(address.matches("127\\.0\\.0\\.1:\\d+"), address);
            onExit = whenEnded;
            launched.add(workerId);
        }

        @Override
        public void kill(int workerId) {
            killed.add(workerId);
        }

        @Override
        public void killAll() {}

        @Override
        public int running() {
            return 0;
        }
    }

    private final RunListener listener = new RunListener() {
        @Override
        public void onNotice(boolean warning, String text) {
            notices.add(text);
        }

        @Override
        public void onStep(StepMetrics metrics) {}

        @Override
        public void onState(RunView view) {}
    };

    @BeforeAll
    static void startNode() {
        kit = ActorTestKit.create(
                "coordinator-test",
                ConfigFactory.parseString(
                                """
                                akka.actor.provider = cluster
                                akka.remote.artery.canonical { hostname = "127.0.0.1", port = 0 }
                                akka.cluster.jmx.multi-mbeans-in-same-jvm = on
                                akka.coordinated-shutdown.exit-jvm = off
                                """)
                        .withFallback(ConfigFactory.load()));
        Cluster cluster = Cluster.get(kit.system());
        cluster.manager().tell(Join.create(cluster.selfMember().address()));
    }

    @AfterAll
    static void stopNode() {
        kit.shutdownTestKit();
    }

    @AfterEach
    void stopActor() {
        if (coordinator != null) {
            kit.stop(coordinator, PATIENCE);
        }
    }

    private void begin(int workers, long every) {
        coordinator = kit.spawn(CoordinatorActor.create(new CoordinatorActor.Setup(
                new RunSettings(workers, 1, true, every, 0, 30_000, out.toString(), null),
                secret,
                "the job",
                "fingerprint",
                "run",
                16,
                new CheckpointFiles(out, 2),
                out.resolve("metrics.jsonl"),
                launcher,
                listener,
                outcome)));
    }

    private TestProbe<WorkerMessage> register(int id, RunSecret with, String fingerprint) {
        TestProbe<WorkerMessage> worker = kit.createTestProbe(WorkerMessage.class);
        coordinator.tell(new CoordinatorMessage.Register(
                id, with.proof(CoordinatorActor.REGISTER), fingerprint, "127.0.0.1", "key", 1, "cpu", worker.getRef()));
        return worker;
    }

    private TestProbe<WorkerMessage> join(int id) {
        TestProbe<WorkerMessage> worker = register(id, secret, "fingerprint");
        assertEquals(
                "the job",
                worker.expectMessageClass(WorkerMessage.Registered.class, PATIENCE)
                        .jobYaml());
        return worker;
    }

    private RunView view() throws Exception {
        CompletableFuture<RunView> answer = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.GetView(answer));
        return answer.get(10, TimeUnit.SECONDS);
    }

    private void ready(TestProbe<WorkerMessage> worker, int id) {
        WorkerMessage.StartGeneration start = worker.expectMessageClass(WorkerMessage.StartGeneration.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.Ready(
                start.generation(), id, 3, List.of(new UnitSize("u", 10)), "{}", "data", start.state()));
    }

    private void step(TestProbe<WorkerMessage> worker, int id) {
        WorkerMessage.RunStep order = worker.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.StepDone(
                order.generation(),
                id,
                new TrainingState(order.step(), order.step(), 0, 0),
                new StepReport(1, 1, true, 1, 1, 1, 1, Map.of(), 1, 1)));
    }

    private void save(TestProbe<WorkerMessage> worker, int id, int rank) throws IOException {
        WorkerMessage.SaveCheckpoint order = worker.expectMessageClass(WorkerMessage.SaveCheckpoint.class, PATIENCE);
        Files.writeString(Path.of(order.directory()).resolve("shard-" + rank), "x");
        coordinator.tell(new CoordinatorMessage.ShardWritten(
                order.generation(), id, order.step(), rank, "shard-" + rank, 1, new byte[32]));
    }

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
    void aWorkerOfAnotherJobIsRefusedAndOneWithoutAJobIsNot() throws Exception {
        begin(2, 0);
        TestProbe<WorkerMessage> other = register(0, secret, "another");
        assertTrue(other.expectMessageClass(WorkerMessage.Refused.class, PATIENCE)
                .reason()
                .contains("another job"));
        TestProbe<WorkerMessage> byHand = register(0, secret, "");
        byHand.expectMessageClass(WorkerMessage.Registered.class, PATIENCE);
        assertEquals(1, view().workers().size());
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
        coordinator.tell(new CoordinatorActor.Stop(false));
        coordinator.tell(new CoordinatorActor.Scale(4, late));
        assertEquals("the run is ending", late.get(10, TimeUnit.SECONDS));
        assertFalse(second.isDone());
        coordinator.tell(new CoordinatorActor.Stop(true));
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
        coordinator.tell(new CoordinatorMessage.WorkerFailed(1, 0, true, "the loss is not finite"));
        assertEquals("the loss is not finite", outcome.get(10, TimeUnit.SECONDS).message());
    }
}
