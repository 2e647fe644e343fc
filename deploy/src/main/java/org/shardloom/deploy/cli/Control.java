package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.deploy.launch.RunFile;

/** Talks to a running coordinator. */
final class Control {
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
            throw new Failures.UsageException("no run is under way in " + directory);
        }
        if (!run.get().isAlive()) {
            throw new Failures.UsageException("the run in " + directory
                    + " has ended without tidying up (its coordinator, process "
                    + run.get().pid() + ", is gone); "
                    + (CheckpointFiles.latest(directory).isPresent() ? "go on" : "it has no checkpoint: start again")
                    + " with deploy/start.sh --config " + directory + "/job.yaml"
                    + (CheckpointFiles.latest(directory).isPresent() ? " --resume latest" : ""));
        }
        return new Control(run.get());
    }

    RunFile run() {
        return run;
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

    private static JsonNode send(HttpRequest request) throws IOException, InterruptedException {
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
            throw new IOException(
                    "the coordinator does not answer on port " + request.uri().getPort());
        }
    }
}
