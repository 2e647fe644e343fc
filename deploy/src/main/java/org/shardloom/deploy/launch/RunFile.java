package org.shardloom.deploy.launch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.Optional;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.protocol.message.RunSecret;

/**
 * {@code output_dir/run.json}: how to reach a run's coordinator; {@code run.secret} beside it: what workers prove that they know.
 * Only their owner can read them; they are removed when the run ends. A pointer in the user's state directory names the run that was started last.
 *
 * @param outputDir of the run
 * @param host of the coordinator, as it calls itself
 * @param pid of the coordinator
 * @param startedMillis when its process was started, in ms since 1970, which tells it from a later one of the same pid; 0: not known
 * @param port of its HTTP interface on loopback
 * @param token that requests carry
 * @param join host:port that workers join
 */
public record RunFile(Path outputDir, String host, long pid, long startedMillis, int port, String token, String join) {
    private static final String NAME = "run.json";
    private static final String SECRET = "run.secret";

    /** Start times are known to a second or so. */
    private static final long SAME_START_MILLIS = 10_000;

    /** Of a run whose coordinator is this process. */
    static RunFile ofThisProcess(Path outputDir, int port, String token, String join) throws IOException {
        ProcessHandle self = ProcessHandle.current();
        return new RunFile(outputDir, thisHost(), self.pid(), startedMillis(self), port, token, join);
    }

    private static String thisHost() throws IOException {
        return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
    }

    private static long startedMillis(ProcessHandle process) {
        return process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
    }

    /** Writes run.json, the run's secret for workers that are started by hand, and the pointer. */
    public void write(RunSecret secret) throws IOException {
        writePrivately(outputDir.resolve(SECRET), secret.hex());
        ObjectMapper mapper = new ObjectMapper();
        String text = mapper.writerWithDefaultPrettyPrinter()
                .writeValueAsString(mapper.createObjectNode()
                        .put("output_dir", outputDir.toString())
                        .put("host", host)
                        .put("pid", pid)
                        .put("started_millis", startedMillis)
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
        String text;
        try {
            text = Files.readString(file);
        } catch (NoSuchFileException e) {
            return Optional.empty(); // the run has ended meanwhile
        }
        JsonNode json = new ObjectMapper().readTree(text);
        return Optional.of(new RunFile(
                Path.of(json.path("output_dir").asText()),
                json.path("host").asText(),
                json.path("pid").asLong(),
                json.path("started_millis").asLong(),
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

    /** Whether the coordinator is, or was, a process of this host. */
    public boolean isOfThisHost() throws IOException {
        return host.equals(thisHost());
    }

    /** The coordinator's process, if it is there; on its host. */
    public Optional<ProcessHandle> process() {
        return ProcessHandle.of(pid)
                .filter(ProcessHandle::isAlive)
                .filter(process -> Math.abs(startedMillis(process) - startedMillis) < SAME_START_MILLIS);
    }

    /**
     * Removes what a coordinator that is gone could not remove itself, and puts its checkpoints right; on its host. Nothing is touched
     * where another run has begun meanwhile, or where this user may not write.
     */
    public void cleanUp() throws IOException {
        if (process().isEmpty() && Files.isWritable(outputDir)) {
            Optional<OutputLock> lock = OutputLock.tryTake(outputDir);
            if (lock.isPresent()) {
                try {
                    remove();
                    CheckpointFiles.heal(outputDir);
                } finally {
                    lock.get().close();
                }
            }
        }
    }
}
