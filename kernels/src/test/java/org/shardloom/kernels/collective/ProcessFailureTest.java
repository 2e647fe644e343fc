package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Kills, or freezes, one process of three in the middle of an all-reduce. */
@Timeout(120)
class ProcessFailureTest {
    private static final int SIZE = 3;
    private static final int LIMIT_SECONDS = 4;
    private static final int VICTIM = 1;

    @TempDir
    private Path directory;

    @ParameterizedTest(name = "{0} {1}")
    @CsvSource({"shm, KILL", "shm, STOP", "aeron, KILL", "aeron, STOP", "nccl, KILL", "nccl, STOP"})
    void survivorsFailWithinTheLimitAndLeaveNothingBehind(String transport, String signal) throws Exception {
        Path temporary = Files.createDirectory(directory.resolve("tmp"));
        List<String> sharedBefore = list(Path.of("/dev/shm"));
        List<Process> members = new ArrayList<>();
        try {
            for (int r = 0; r < SIZE; r++) {
                members.add(start(transport, r, temporary));
            }
            for (int r = 0; r < SIZE; r++) {
                awaitOutput(r, "RUNNING", members.get(r));
            }
            long pid = members.get(VICTIM).pid();
            assertEquals(
                    0,
                    new ProcessBuilder("kill", "-" + signal, "" + pid).start().waitFor());
            for (int r = 0; r < SIZE; r++) {
                if (r != VICTIM) {
                    assertTrue(members.get(r).waitFor(LIMIT_SECONDS + 15, TimeUnit.SECONDS), "rank " + r + " hangs");
                    // To NCCL, a process that stands still takes long, and a peer that has noticed and aborted may be
                    // noticed first.
                    check(r, transport.equals("nccl") ? "all-reduce" : "rank " + VICTIM);
                }
            }
        } finally {
            members.forEach(Process::destroyForcibly);
        }
        members.get(VICTIM).waitFor();
        if (transport.equals("nccl")) {
            List<String> reports = Files.readAllLines(directory.resolve("reports"));
            assertEquals(SIZE - 1, reports.size(), reports.toString());
            assertTrue(reports.stream().allMatch(line -> line.contains(" end: 0 faults")), reports.toString());
        }
        assertEquals(sharedBefore, list(Path.of("/dev/shm")));
        // What the victim could not delete goes when the next one starts; the survivors have deleted theirs.
        String victims = "shardloom-aeron-" + members.get(VICTIM).pid() + "-";
        assertTrue(
                list(temporary).stream()
                        .filter(name -> name.startsWith("shardloom"))
                        .allMatch(name -> name.startsWith(victims) || name.endsWith(".lock")),
                list(temporary).toString());
    }

    private void check(int rank, String named) throws IOException {
        List<String> output = Files.readAllLines(output(rank));
        String failed = line(output, "FAILED after ");
        long millis = Long.parseLong(failed.split(" ")[2]);
        assertTrue(millis < LIMIT_SECONDS * 1000 + 1500, failed);
        assertTrue(failed.contains(named), failed);
        assertEquals("LEFT 0", line(output, "LEFT "), output.toString());
    }

    private static String line(List<String> output, String start) {
        return output.stream()
                .filter(line -> line.startsWith(start))
                .findFirst()
                .orElse("no " + start + output);
    }

    private Process start(String transport, int rank, Path temporary) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--add-opens",
                        "java.base/jdk.internal.misc=ALL-UNNAMED",
                        "-Xmx256m",
                        "-XX:+UseSerialGC",
                        "-XX:TieredStopAtLevel=1",
                        "-XX:-UsePerfData",
                        "-Djava.io.tmpdir=" + temporary,
                        "-cp",
                        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                        GroupMember.class.getName(),
                        transport,
                        "" + rank,
                        "" + SIZE,
                        directory.toString(),
                        "" + LIMIT_SECONDS)
                .redirectErrorStream(true)
                .redirectOutput(output(rank).toFile());
        if (transport.equals("nccl")) {
            String simulation = System.getProperty("shardloom.cuda.simulation");
            builder.environment()
                    .putAll(Map.of(
                            "LD_LIBRARY_PATH",
                            Path.of(simulation).toAbsolutePath().toString(),
                            "SHARDLOOM_SIM_DEVICES",
                            "" + SIZE,
                            "SHARDLOOM_SIM_DELAY_MICROS",
                            "100",
                            "SHARDLOOM_SIM_REPORT",
                            directory.resolve("reports").toString(),
                            "CUDA_VISIBLE_DEVICES",
                            "" + rank));
        }
        return builder.start();
    }

    private Path output(int rank) {
        return directory.resolve("output-" + rank);
    }

    private void awaitOutput(int rank, String text, Process member) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!Files.readString(output(rank)).contains(text)) {
            assertTrue(member.isAlive() && System.nanoTime() < deadline, Files.readString(output(rank)));
            Thread.sleep(20);
        }
    }

    private static List<String> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> entry.getFileName().toString())
                    .filter(name -> name.contains("shardloom") || name.contains("aeron"))
                    .sorted()
                    .toList();
        }
    }
}
