package org.shardloom.protocol.message;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.ActorTestKit;
import akka.actor.typed.ActorRef;
import akka.serialization.Serialization;
import akka.serialization.SerializationExtension;
import akka.serialization.jackson.JacksonCborSerializer;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.message.CoordinatorMessage.AskJob;
import org.shardloom.protocol.message.CoordinatorMessage.ExportFailed;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.Register;
import org.shardloom.protocol.message.CoordinatorMessage.RendezvousOffer;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.WorkerFailed;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.plan.UnitSize;

@Timeout(60)
class MessageSerializationTest {
    private static final byte[] BYTES = {0, 1, -1, 127, -128, 13, 10};
    private static ActorTestKit kit;
    private static Serialization serialization;

    @BeforeAll
    static void start() {
        kit = ActorTestKit.create();
        serialization = SerializationExtension.get(kit.system());
    }

    @AfterAll
    static void stop() {
        kit.shutdownTestKit();
    }

    private static List<WireMessage> samples() {
        ActorRef<WorkerMessage> worker =
                kit.createTestProbe(WorkerMessage.class).getRef();
        TrainingState state =
                new TrainingState(Long.MAX_VALUE, 7, 65536.5, 3, new GuardState(40, 1.25, 0.5, -0.7, -0.1, 2, 1));
        StepReport report = new StepReport(
                0.1, 2.5, false, 1e-300, 12, 0.5, 1.5, Map.of("forward", 0.25, "reduce", 1e-9), 1L << 40, 3);
        EvaluationReport evaluation = new EvaluationReport(
                1.5, 7, List.of(new EvaluationReport.Answer(3, "问", "答", "", Map.of("rouge-l", 0.5))), 0.25, null);
        List<Member> members = List.of(new Member(0, "a", "k", -1, 0), new Member(5, "::1", "k2", 3, -1));
        return List.of(
                new AskJob("proof", "host", 1L << 33, worker),
                new Register(-1, "proof", "f00d", "abcd", "host", "key", 1L << 33, "cuda:0", worker),
                new RendezvousOffer(3, 1, "ranks/0", 2, 4, BYTES),
                new Ready(
                        2, 1, 100, List.of(new UnitSize("layers.3", 1L << 35)), "{\"a\": \"ü\"}", "12 samples", state),
                new StepDone(2, 1, state, report),
                new StepDone(2, 1, state, report.with(evaluation)),
                new CoordinatorMessage.StepRefused(2, 1, 9, "the gradient exploded"),
                new ShardWritten(2, 1, 8, 0, "shard-0-of-4.safetensors", 1L << 36, BYTES),
                new ShardFailed(2, 1, 8, true, "No space left on device"),
                new Exported(2, 1, "/out/final"),
                new ExportFailed(2, 1, "no space for the model"),
                new WorkerFailed(-1, 1, Severity.FATAL, "bad input\n第二行"),
                new WorkerFailed(3, 1, Severity.PASSING, "a peer is gone"),
                new WorkerFailed(3, 1, Severity.DEVICE_LOST, "cuda:1 is gone"),
                new WorkerMessage.Job("model: {path: /m}\n"),
                new WorkerMessage.Registered(4),
                new WorkerMessage.Refused("no"),
                new WorkerMessage.StartGeneration(2, Origin.RESHARD, members, null, state),
                new WorkerMessage.StartGeneration(
                        3, Origin.CHECKPOINT, members, "/out/checkpoint-4", TrainingState.START),
                new WorkerMessage.RendezvousResult(2, "k", List.of(BYTES, new byte[0], new byte[100_000])),
                new WorkerMessage.RunStep(2, 9),
                new WorkerMessage.SaveCheckpoint(2, 9, "/out/checkpoint-9.writing"),
                new WorkerMessage.ExportFinal(2, "/out/checkpoint-9", "/out/final"),
                new WorkerMessage.AbortGeneration(2, "a worker was lost"),
                new WorkerMessage.Leave("done"));
    }

    @Test
    void everyMessageHasASample() {
        Set<Class<?>> missing = new HashSet<>();
        Stream.of(CoordinatorMessage.class, WorkerMessage.class)
                .flatMap(type -> Arrays.stream(type.getPermittedSubclasses()))
                .filter(Class::isRecord)
                .forEach(missing::add);
        samples().forEach(sample -> missing.remove(sample.getClass()));
        assertEquals(Set.of(), missing);
    }

    @Test
    void everyMessageArrivesAsItWasSent() throws ReflectiveOperationException {
        for (WireMessage message : samples()) {
            assertTrue(serialization.findSerializerFor(message) instanceof JacksonCborSerializer, message.toString());
            byte[] bytes = serialization.serialize(message).get();
            int id = serialization.findSerializerFor(message).identifier();
            String manifest =
                    akka.serialization.Serializers.manifestFor(serialization.findSerializerFor(message), message);
            Object back = serialization.deserialize(bytes, id, manifest).get();
            assertSame(message, back, message.getClass().getSimpleName());
        }
    }

    /** Records by component, so that arrays are compared by what is in them. */
    private static void assertSame(Object expected, Object actual, String where) throws ReflectiveOperationException {
        if (expected instanceof byte[] bytes) {
            assertArrayEquals(bytes, (byte[]) actual, where);
        } else if (expected instanceof List<?> list) {
            assertEquals(list.size(), ((List<?>) actual).size(), where);
            for (int i = 0; i < list.size(); i++) {
                assertSame(list.get(i), ((List<?>) actual).get(i), where + "[" + i + "]");
            }
        } else if (expected instanceof Record) {
            assertNotNull(actual, where);
            assertEquals(expected.getClass(), actual.getClass(), where);
            for (RecordComponent component : expected.getClass().getRecordComponents()) {
                component.getAccessor().setAccessible(true);
                assertSame(
                        component.getAccessor().invoke(expected),
                        component.getAccessor().invoke(actual),
                        where + "." + component.getName());
            }
        } else {
            assertEquals(expected, actual, where);
        }
    }
}
