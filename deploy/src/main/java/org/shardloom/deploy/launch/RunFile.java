package org.shardloom.deploy.launch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.shardloom.protocol.message.RunSecret;

/**
 * {@code output_dir/run.json}: how to reach a run's coordinator; {@code run.secret} beside it: what workers prove that they know.
 * Only their owner can read them; they are removed when the run ends. A pointer in the user's state directory names the run that was started last.
 *
 * @param outputDir of the run
 * @param pid of the coordinator
 * @param port of its HTTP interface on loopback
 * @param token that requests carry
 * @param join host:port that workers join
 */
public record RunFile(Path outputDir, long pid, int port, String token, String join) {
    private static final String NAME = "run.json";
    private static final String SECRET = "run.secret";

    /** Writes run.json, the run's secret for workers that are started by hand, and the pointer. */
    public void write(RunSecret secret) throws IOException {
        writePrivately(outputDir.resolve(SECRET), secret.hex());
        ObjectMapper mapper = new ObjectMapper();
        String text = mapper.writerWithDefaultPrettyPrinter()
                .writeValueAsString(mapper.createObjectNode()
                        .put("output_dir", outputDir.toString())
                        .put("pid", pid)
                        .put("port", port)
                        .put("token", token)
                        .put("join", join));
        writePrivately(outputDir.resolve(NAME), text);
        Files.createDirectories(pointer().getParent());
        writePrivately(pointer(), outputDir.toString());
    }

    private static void writePrivately(Path file, String text) throws IOException {
        Path temporary = Files.createTempFile(
                file.getParent(),
                "." + file.getFileName(),
                ".tmp",
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        Files.writeString(temporary, text);
        Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /** Removes run.json: the run has ended. */
    public void remove() throws IOException {
        Files.deleteIfExists(outputDir.resolve(NAME));
        Files.deleteIfExists(outputDir.resolve(SECRET));
    }

    /** The run of the output directory, if it has a run.json. */
    public static Optional<RunFile> read(Path outputDir) throws IOException {
        Path file = outputDir.resolve(NAME);
        if (!Files.exists(file)) {
            return Optional.empty();
        }
        JsonNode json = new ObjectMapper().readTree(file.toFile());
        return Optional.of(new RunFile(
                Path.of(json.path("output_dir").asText()),
                json.path("pid").asLong(),
                json.path("port").asInt(),
                json.path("token").asText(),
                json.path("join").asText()));
    }

    /** Output directory of the run that this user started last on this host. */
    public static Optional<Path> lastOutputDir() throws IOException {
        return Files.exists(pointer())
                ? Optional.of(Path.of(Files.readString(pointer()).strip()))
                : Optional.empty();
    }

    private static Path pointer() {
        String state = System.getenv("XDG_STATE_HOME");
        Path base = state != null && !state.isBlank()
                ? Path.of(state)
                : Path.of(System.getProperty("user.home"), ".local", "state");
        return base.resolve("shardloom").resolve("last-run");
    }

    /** Whether the coordinator's process is there. */
    public boolean isAlive() {
        return ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false);
    }
}
