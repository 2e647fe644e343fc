package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.deploy.launch.RunFile;

/** Talks to a running coordinator. */
final class Control {
    private static final int ENDING_MILLIS = 10_000;
    private static final int POLL_MILLIS = 200;

    private final RunFile run;

    private Control(RunFile run) {
        this.run = run;
    }

    /** The run of the output directory, or the one that was started last. */
    static Control of(Path outputDir) throws IOException {
        Path directory = outputDir != null
                ? outputDir.toAbsolutePath().normalize()
                : RunFile.lastOutputDir()
                        .orElseThrow(() -> new Failures.UsageException(
                                "no run was started by this user on this host; name one with --run OUTPUT_DIR"));
        Optional<RunFile> run = RunFile.read(directory);
        if (run.isEmpty()) {
            throw new Failures.UsageException("no run is under way in " + directory + goOn(directory));
        }
        if (!run.get().isOfThisHost()) {
            throw new Failures.UsageException("the run in " + directory + " has its coordinator on host "
                    + run.get().host() + ": give the command there");
        }
        if (run.get().process().isEmpty()) {
            run.get().cleanUp();
            throw new Failures.UsageException("the coordinator of the run in " + directory + " (process "
                    + run.get().pid() + ") is gone: killed, or its host was restarted" + goOn(directory));
        }
        return new Control(run.get());
    }

    /** How to go on with a run that has ended before it was done. */
    private static String goOn(Path outputDir) throws IOException {
        Path job = outputDir.resolve("job.yaml");
        if (!Files.exists(job) || Files.exists(outputDir.resolve("final"))) {
            return "";
        }
        String again = "deploy/start.sh --config " + job;
        return CheckpointFiles.latest(outputDir)
                .map(last -> "; " + again + " --resume latest goes on from " + last.getFileName())
                .orElse("; it left no checkpoint: start again with " + again);
    }

    RunFile run() {
        return run;
    }

    /** What there is to say of the run's state; empty when it does not answer any more. */
    String detail() throws InterruptedException {
        try {
            return get("/status").path("detail").asText();
        } catch (IOException | Failures.UsageException e) {
            return "";
        }
    }

    JsonNode get(String path) throws IOException, InterruptedException {
        return send(request(path).GET().timeout(Duration.ofSeconds(20)).build());
    }

    JsonNode post(String path) throws IOException, InterruptedException {
        return send(request(path)
                .POST(HttpRequest.BodyPublishers.noBody())
                .timeout(Duration.ofMinutes(11))
                .build());
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + run.port() + path))
                .header("Authorization", "Bearer " + run.token());
    }

    private JsonNode send(HttpRequest request) throws IOException, InterruptedException {
        try {
            HttpResponse<String> response = HttpClient.newBuilder()
                    .connectTimeout(Duration.ofSeconds(5))
                    .build()
                    .send(request, HttpResponse.BodyHandlers.ofString());
            JsonNode json = new ObjectMapper().readTree(response.body());
            if (response.statusCode() != 200) {
                throw new IOException(json.path("error").asText("the coordinator answered " + response.statusCode()));
            }
            return json;
        } catch (ConnectException e) {
            if (isEnding()) {
                throw new Failures.UsageException(
                        "the run in " + run.outputDir() + " has just ended" + goOn(run.outputDir()));
            }
            throw new IOException(
                    "the coordinator does not answer on port " + request.uri().getPort());
        }
    }

    /** Whether a coordinator that does not answer any more takes its leave; waits for that a little. */
    private boolean isEnding() throws IOException, InterruptedException {
        for (int waited = 0; waited < ENDING_MILLIS; waited += POLL_MILLIS) {
            boolean there = RunFile.read(run.outputDir()).filter(run::equals).isPresent();
            if (!there || run.process().isEmpty()) {
                return true;
            }
            Thread.sleep(POLL_MILLIS);
        }
        return false;
    }
}
