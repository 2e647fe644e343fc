package org.shardloom.coordinator.run;

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
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.plan.UnitSize;

/** The actor in a cluster of one node; the test plays the workers. */
@Timeout(60)
abstract class CoordinatorFixture {
    static final Duration PATIENCE = Duration.ofSeconds(10);
    static ActorTestKit kit;

    @TempDir
    Path out;

    final RunSecret secret = RunSecret.random();
    final FakeLauncher launcher = new FakeLauncher();
    final List<String> notices = new CopyOnWriteArrayList<>();
    final CompletableFuture<CoordinatorActor.Outcome> outcome = new CompletableFuture<>();
    ActorRef<CoordinatorMessage> coordinator;

    static final class FakeLauncher implements WorkerLauncher {
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

    void begin(int workers, long every) {
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

    TestProbe<WorkerMessage> register(int id, RunSecret with, String fingerprint) {
        return register(id, with, fingerprint, "content");
    }

    TestProbe<WorkerMessage> register(int id, RunSecret with, String fingerprint, String content) {
        TestProbe<WorkerMessage> worker = kit.createTestProbe(WorkerMessage.class);
        coordinator.tell(new CoordinatorMessage.Register(
                id,
                with.proof(CoordinatorActor.REGISTER),
                fingerprint,
                content,
                "127.0.0.1",
                "key",
                1,
                "cpu",
                worker.getRef()));
        return worker;
    }

    TestProbe<WorkerMessage> join(int id) {
        TestProbe<WorkerMessage> worker = register(id, secret, "fingerprint");
        worker.expectMessageClass(WorkerMessage.Registered.class, PATIENCE);
        return worker;
    }

    RunView view() throws Exception {
        CompletableFuture<RunView> answer = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.GetView(answer));
        return answer.get(10, TimeUnit.SECONDS);
    }

    void ready(TestProbe<WorkerMessage> worker, int id) {
        WorkerMessage.StartGeneration start = worker.expectMessageClass(WorkerMessage.StartGeneration.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.Ready(
                start.generation(), id, 3, List.of(new UnitSize("u", 10)), "{}", "data", start.state()));
    }

    void step(TestProbe<WorkerMessage> worker, int id) {
        step(worker, id, null);
    }

    /** A step and what its evaluation has found; null: there was none. */
    void step(TestProbe<WorkerMessage> worker, int id, EvaluationReport evaluation) {
        WorkerMessage.RunStep order = worker.expectMessageClass(WorkerMessage.RunStep.class, PATIENCE);
        coordinator.tell(new CoordinatorMessage.StepDone(
                order.generation(),
                id,
                new TrainingState(order.step(), order.step(), 0, 0, GuardState.START),
                new StepReport(1, 1, true, 1, 1, 1, 1, Map.of(), 1, 1).with(evaluation)));
    }

    void save(TestProbe<WorkerMessage> worker, int id, int rank) throws IOException {
        WorkerMessage.SaveCheckpoint order = worker.expectMessageClass(WorkerMessage.SaveCheckpoint.class, PATIENCE);
        Files.writeString(Path.of(order.directory()).resolve("shard-" + rank), "x");
        coordinator.tell(new CoordinatorMessage.ShardWritten(
                order.generation(), id, order.step(), rank, "shard-" + rank, 1, new byte[32]));
    }

    TestProbe<WorkerMessage> askJob(RunSecret with) {
        TestProbe<WorkerMessage> worker = kit.createTestProbe(WorkerMessage.class);
        coordinator.tell(
                new CoordinatorMessage.AskJob(with.proof(CoordinatorActor.REGISTER), "10.0.0.7", 77, worker.getRef()));
        return worker;
    }
}
