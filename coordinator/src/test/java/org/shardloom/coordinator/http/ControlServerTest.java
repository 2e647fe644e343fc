package org.shardloom.coordinator.http;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import akka.actor.testkit.typed.javadsl.ActorTestKit;
import akka.actor.typed.ActorRef;
import akka.actor.typed.javadsl.Behaviors;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.coordinator.run.CoordinatorActor;
import org.shardloom.coordinator.run.RunState;
import org.shardloom.coordinator.run.RunView;
import org.shardloom.coordinator.run.WorkerInfo;
import org.shardloom.protocol.message.CoordinatorMessage;

@Timeout(60)
class ControlServerTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static ActorTestKit kit;
    private final BlockingQueue<CoordinatorMessage> heard = new LinkedBlockingQueue<>();
    private final HttpClient client = HttpClient.newHttpClient();
    private volatile RunView view;
    private ControlServer server;

    @BeforeAll
    static void start() {
        kit = ActorTestKit.create();
    }

    @AfterAll
    static void stop() {
        kit.shutdownTestKit();
    }

    @BeforeEach
    void listen() throws IOException {
        view = new RunView(
                RunState.TRAINING,
                "",
                12,
                100,
                2.5,
                3,
                2,
                List.of(
                        new WorkerInfo(4, "10.0.0.1", "k", 77, "cpu", 0),
                        new WorkerInfo(6, "10.0.0.2", "k", 78, "cuda:0", -1)));
        ActorRef<CoordinatorMessage> stub = kit.spawn(Behaviors.receiveMessage(message -> {
            heard.add(message);
            if (message instanceof CoordinatorActor.GetView get) {
                get.answer().complete(view);
            } else if (message instanceof CoordinatorActor.Scale scale) {
                scale.answer().complete(scale.workers() == 7 ? "the run is ending" : null);
            } else if (message instanceof CoordinatorActor.Stop stop) {
                stop.answer().complete(stop.immediately() ? "stopped at step 3" : null);
            }
            return Behaviors.same();
        }));
        server = new ControlServer(stub, "secret", "/out");
    }

    @AfterEach
    void close() {
        server.close();
    }

    private HttpResponse<String> send(String method, String path, String authorization)
            throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(
                        "http://" + InetAddress.getLoopbackAddress().getHostAddress() + ":" + server.port() + path))
                .method(method, HttpRequest.BodyPublishers.noBody());
        if (authorization != null) {
            request.header("Authorization", authorization);
        }
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private JsonNode json(int code, String method, String path) throws IOException, InterruptedException {
        HttpResponse<String> response = send(method, path, "Bearer secret");
        assertEquals(code, response.statusCode(), response.body());
        assertEquals(
                "application/json",
                response.headers().firstValue("Content-Type").orElse(""));
        return MAPPER.readTree(response.body());
    }

    @Test
    void theStatusHasAllThatTheDesignNames() throws Exception {
        JsonNode status = json(200, "GET", "/status");
        assertEquals("training", status.get("state").asText());
        assertEquals(12, status.get("step").asInt());
        assertEquals(100, status.get("total_steps").asInt());
        assertEquals(2.5, status.get("loss").asDouble());
        assertEquals(3, status.get("generation").asInt());
        assertEquals("/out", status.get("output_dir").asText());
        JsonNode worker = status.get("workers").get(0);
        assertEquals(4, worker.get("id").asInt());
        assertEquals(0, worker.get("rank").asInt());
        assertEquals("cpu", worker.get("device").asText());
        assertEquals("training", worker.get("state").asText());
        assertEquals("10.0.0.1", worker.get("host").asText());
        assertEquals(77, worker.get("pid").asInt());
        assertEquals("waiting", status.get("workers").get(1).get("state").asText());
    }

    @Test
    void beforeTheFirstStepTheLossIsNull() throws Exception {
        view = new RunView(RunState.ASSEMBLING, "waiting", 0, 0, Double.NaN, 0, 2, List.of());
        assertTrue(json(200, "GET", "/status").get("loss").isNull());
    }

    @Test
    void withoutTheTokenNothingIsSaidOrDone() throws Exception {
        for (String wrong :
                new String[] {null, "", "Bearer", "Bearer wrong", "secret", "bearer secret", "Bearer secret2"}) {
            for (String request : List.of("GET /status", "POST /scale?workers=2", "POST /stop")) {
                HttpResponse<String> response = send(request.split(" ")[0], request.split(" ")[1], wrong);
                assertEquals(401, response.statusCode(), wrong + " " + request);
                assertFalse(response.body().contains("secret"));
            }
        }
        assertTrue(heard.isEmpty());
    }

    @Test
    void otherMethodsAndPathsAreRefused() throws Exception {
        assertEquals("use GET", json(405, "POST", "/status").get("error").asText());
        assertEquals(
                "use POST", json(405, "GET", "/scale?workers=2").get("error").asText());
        assertEquals("use POST", json(405, "GET", "/stop").get("error").asText());
        json(404, "POST", "/stopping");
        json(404, "GET", "/status/x");
        assertEquals(404, send("GET", "/", "Bearer secret").statusCode());
        assertTrue(heard.isEmpty());
    }

    @Test
    void scalingAnswersWithTheStatusOrTheError() throws Exception {
        assertEquals(
                "training", json(200, "POST", "/scale?workers=3").get("state").asText());
        assertEquals(3, ((CoordinatorActor.Scale) heard.poll(1, TimeUnit.SECONDS)).workers());
        assertEquals(
                "the run is ending",
                json(409, "POST", "/scale?workers=7").get("error").asText());
    }

    @Test
    void numbersOfWorkersThatMakeNoSenseAreRefusedWithTheirValue() throws Exception {
        for (String query :
                List.of("", "?workers=", "?workers=x", "?workers=2.5", "?worker=3", "?workers=99999999999")) {
            String error = json(400, "POST", "/scale" + query).get("error").asText();
            assertTrue(error.contains("whole number"), error);
        }
        assertTrue(json(400, "POST", "/scale?workers=0").get("error").asText().contains("found 0"));
        json(400, "POST", "/scale?workers=-1");
        json(400, "POST", "/scale?workers=1025");
        assertTrue(heard.isEmpty());
    }

    @Test
    void stoppingIsPassedOn() throws Exception {
        JsonNode stopping = json(200, "POST", "/stop");
        assertTrue(stopping.get("stopping").asBoolean());
        assertTrue(stopping.get("ended").isNull());
        assertFalse(((CoordinatorActor.Stop) heard.poll(5, TimeUnit.SECONDS)).immediately());
        assertEquals(
                "stopped at step 3",
                json(200, "POST", "/stop?now=true").get("ended").asText());
        assertTrue(((CoordinatorActor.Stop) heard.poll(5, TimeUnit.SECONDS)).immediately());
    }

    @Test
    void aCoordinatorThatDoesNotAnswerIsReported() throws Exception {
        ActorRef<CoordinatorMessage> silent = kit.spawn(Behaviors.ignore());
        server.close();
        server = new ControlServer(silent, "secret", "/out");
        assertTrue(json(503, "GET", "/status").get("error").asText().contains("does not answer"));
    }
}
