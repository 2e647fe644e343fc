package org.shardloom.coordinator.http;

import akka.actor.typed.ActorRef;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.shardloom.coordinator.run.CoordinatorActor;
import org.shardloom.coordinator.run.RunView;
import org.shardloom.coordinator.run.WorkerInfo;
import org.shardloom.protocol.message.CoordinatorMessage;

/**
 * GET /status, POST /scale?workers=N, POST /stop?now=true|false; JSON. Every request carries the token of run.json as {@code
 * Authorization: Bearer}. Loopback only.
 */
public final class ControlServer implements AutoCloseable {
    private static final int ANSWER_SECONDS = 600;
    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "control");
        thread.setDaemon(true);
        return thread;
    });
    private final ActorRef<CoordinatorMessage> coordinator;
    private final String token;
    private final String outputDir;
    private final ObjectMapper mapper = new ObjectMapper();

    /** Listens on a free port of the loopback interface. */
    public ControlServer(ActorRef<CoordinatorMessage> coordinator, String token, String outputDir) throws IOException {
        this.coordinator = coordinator;
        this.token = token;
        this.outputDir = outputDir;
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 16);
        server.setExecutor(threads);
        server.createContext("/status", exchange -> handle(exchange, "GET", this::status));
        server.createContext("/scale", exchange -> handle(exchange, "POST", this::scale));
        server.createContext("/stop", exchange -> handle(exchange, "POST", this::stop));
        server.start();
    }

    /** The port that was free. */
    public int port() {
        return server.getAddress().getPort();
    }

    private interface Handler {
        ObjectNode answer(HttpExchange exchange) throws Exception;
    }

    private void handle(HttpExchange exchange, String method, Handler handler) throws IOException {
        try (exchange) {
            String given = String.valueOf(exchange.getRequestHeaders().getFirst("Authorization"));
            if (!MessageDigest.isEqual(
                    given.getBytes(StandardCharsets.UTF_8), ("Bearer " + token).getBytes(StandardCharsets.UTF_8))) {
                send(exchange, 401, mapper.createObjectNode().put("error", "a token is needed"));
            } else if (!exchange.getHttpContext()
                    .getPath()
                    .equals(exchange.getRequestURI().getPath())) {
                send(exchange, 404, mapper.createObjectNode().put("error", "use /status, /scale or /stop"));
            } else if (!method.equals(exchange.getRequestMethod())) {
                send(exchange, 405, mapper.createObjectNode().put("error", "use " + method));
            } else {
                try {
                    ObjectNode answer = handler.answer(exchange);
                    send(exchange, answer.has("error") ? 409 : 200, answer);
                } catch (IllegalArgumentException e) {
                    send(exchange, 400, mapper.createObjectNode().put("error", e.getMessage()));
                } catch (Exception e) {
                    send(
                            exchange,
                            503,
                            mapper.createObjectNode().put("error", "the coordinator does not answer (" + e + ")"));
                }
            }
        }
    }

    private ObjectNode status(HttpExchange exchange) throws Exception {
        CompletableFuture<RunView> answer = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.GetView(answer));
        return toJson(answer.get(10, TimeUnit.SECONDS));
    }

    private ObjectNode scale(HttpExchange exchange) throws Exception {
        String given = parameter(exchange, "workers", "");
        if (!given.matches("-?\\d{1,9}")) {
            throw new IllegalArgumentException("workers must be a whole number, found '" + given + "'");
        }
        int workers = Integer.parseInt(given);
        if (workers < 1 || workers > 1024) {
            throw new IllegalArgumentException("the number of workers must be between 1 and 1024, found " + workers);
        }
        CompletableFuture<String> answer = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.Scale(workers, answer));
        String error = answer.get(ANSWER_SECONDS, TimeUnit.SECONDS);
        return error == null ? status(exchange) : mapper.createObjectNode().put("error", error);
    }

    private ObjectNode stop(HttpExchange exchange) throws Exception {
        CompletableFuture<String> answer = new CompletableFuture<>();
        coordinator.tell(new CoordinatorActor.Stop("true".equals(parameter(exchange, "now", "false")), answer));
        String ended = answer.get(10, TimeUnit.SECONDS);
        return mapper.createObjectNode().put("stopping", true).put("ended", ended);
    }

    private static String parameter(HttpExchange exchange, String name, String otherwise) {
        String query = String.valueOf(exchange.getRequestURI().getQuery());
        for (String pair : query.split("&")) {
            if (pair.startsWith(name + "=")) {
                return pair.substring(name.length() + 1);
            }
        }
        return otherwise;
    }

    private ObjectNode toJson(RunView view) {
        ObjectNode json = mapper.createObjectNode()
                .put("state", view.state().name().toLowerCase(Locale.ROOT))
                .put("detail", view.detail())
                .put("step", view.step())
                .put("total_steps", view.totalSteps());
        if (Double.isFinite(view.loss())) {
            json.put("loss", view.loss());
        } else {
            json.putNull("loss");
        }
        json.put("generation", view.generation())
                .put("wanted_workers", view.wantedWorkers())
                .put("output_dir", outputDir);
        ArrayNode workers = json.putArray("workers");
        for (WorkerInfo worker : view.workers()) {
            workers.addObject()
                    .put("id", worker.id())
                    .put("rank", worker.rank())
                    .put("device", worker.device())
                    .put(
                            "state",
                            worker.rank() < 0 ? "waiting" : view.state().name().toLowerCase(Locale.ROOT))
                    .put("host", worker.host())
                    .put("pid", worker.pid());
        }
        return json;
    }

    private void send(HttpExchange exchange, int code, ObjectNode body) throws IOException {
        byte[] bytes = mapper.writeValueAsBytes(body);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(code, bytes.length);
        exchange.getResponseBody().write(bytes);
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}
