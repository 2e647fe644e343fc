package org.shardloom.deploy.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.shardloom.deploy.launch.ComputeEnvironment;
import org.shardloom.deploy.launch.JavaCommand;

/**
 * Runs every rank of a benchmark in a process of its own and collects what they found. However it ends, none of the processes and
 * none of their files are left.
 */
final class RankProcesses implements AutoCloseable {
    static final String TASK = "task.json";
    static final String PARENT = "SHARDLOOM_PARENT";
    /** How the program begins a failure that it tells in one line. */
    private static final String TOLD = "shardloom: ";

    private static final long POLL_MS = 20;
    private static final int LOG_LINES = 15;
    private final List<Process> processes = new CopyOnWriteArrayList<>();
    private final ScratchDirectory scratch;
    private volatile boolean ending;

    private RankProcesses() throws IOException {
        scratch = ScratchDirectory.in(Path.of(System.getProperty("java.io.tmpdir")), this::killAll);
    }

    static String result(int rank) {
        return "result-" + rank + ".json";
    }

    /** A new secret for a group. */
    static String secret() {
        byte[] bytes = new byte[32];
        new SecureRandom().nextBytes(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    /**
     * Runs the ranks to their end.
     *
     * @return what each reported, by rank
     * @throws IOException with the end of its output when one fails, or when the limit has passed
     */
    static <T> List<T> run(RankTask task, Class<T> type, Duration limit) throws IOException, InterruptedException {
        try (RankProcesses group = new RankProcesses()) {
            ObjectMapper json = new ObjectMapper();
            Path directory = group.scratch.path();
            json.writeValue(directory.resolve(TASK).toFile(), task);
            for (int r = 0; r < task.size(); r++) {
                group.start(r, task.size());
            }
            group.await(limit);
            List<T> results = new ArrayList<>();
            for (int r = 0; r < task.size(); r++) {
                results.add(json.readValue(directory.resolve(result(r)).toFile(), type));
            }
            return results;
        }
    }

    private void start(int rank, int size) throws IOException {
        List<String> command = new ArrayList<>(List.of("setsid"));
        command.addAll(JavaCommand.of("bench-rank"));
        command.addAll(List.of("--dir", scratch.path().toString(), "--rank", String.valueOf(rank)));
        ProcessBuilder builder = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log(rank).toFile());
        builder.environment().put(PARENT, String.valueOf(ProcessHandle.current().pid()));
        ComputeEnvironment.complete(builder.environment(), size, 1);
        synchronized (this) {
            if (ending) {
                throw new IOException("the program is ending");
            }
            processes.add(builder.start());
        }
        processes.get(rank).getOutputStream().close();
    }

    private Path log(int rank) {
        return scratch.path().resolve("rank-" + rank + ".log");
    }

    private void await(Duration limit) throws IOException, InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        boolean running = true;
        while (running) {
            running = false;
            for (int r = 0; r < processes.size(); r++) {
                Process process = processes.get(r);
                if (process.isAlive()) {
                    running = true;
                } else if (ending) {
                    throw new IOException("stopped");
                } else if (process.exitValue() != 0) {
                    throw new IOException("rank " + r + why(process.exitValue(), log(r)));
                }
            }
            if (System.nanoTime() > deadline) {
                throw new IOException("not done after " + limit.toSeconds() + " s (--time-limit)");
            }
            if (running) {
                Thread.sleep(POLL_MS);
            }
        }
    }

    /** What the rank itself says in a line, else the end of all it has printed. */
    private static String why(int status, Path log) throws IOException {
        List<String> lines = Files.readAllLines(log);
        String last = lines.isEmpty() ? "" : lines.get(lines.size() - 1);
        if (last.startsWith(TOLD) && lines.stream().noneMatch(line -> line.startsWith("\tat "))) {
            return ": " + last.substring(TOLD.length());
        }
        return " ended with status " + status + ":\n"
                + String.join("\n", lines.subList(Math.max(0, lines.size() - LOG_LINES), lines.size()));
    }

    /** Any thread; nothing is started afterwards. */
    private void killAll() {
        synchronized (this) {
            ending = true;
        }
        processes.forEach(Process::destroyForcibly);
        for (Process process : processes) {
            try {
                process.waitFor(10, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    @Override
    public void close() {
        scratch.close();
    }
}
