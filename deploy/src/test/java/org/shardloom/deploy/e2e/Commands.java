package org.shardloom.deploy.e2e;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Starts the commands of the deploy folder as a user would, with a state directory of the test's own. */
final class Commands implements AutoCloseable {
    static final Path ROOT =
            Path.of(System.getProperty("shardloom.root", "..")).toAbsolutePath().normalize();
    private final Path directory;
    private final List<Process> started = new ArrayList<>();
    private int number;

    Commands(Path directory) {
        this.directory = directory;
    }

    /** A command that has ended. */
    record Result(int status, String output) {
        Result expect(int wanted) {
            if (status != wanted) {
                throw new AssertionError("ended with status " + status + ", expected " + wanted + ":\n" + output);
            }
            return this;
        }
    }

    /** A command under way. */
    record Running(Process process, Path log) {
        String output() throws IOException {
            return Files.readString(log);
        }

        Result await(Duration limit) throws IOException, InterruptedException {
            if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
                process.destroyForcibly();
                throw new AssertionError("still running after " + limit + ":\n" + output());
            }
            return new Result(process.exitValue(), output());
        }
    }

    Running start(String command, String... arguments) throws IOException {
        return startIn(List.of(), command, arguments);
    }

    /** With words before the command, such as {@code ip netns exec NAME}. */
    Running startIn(List<String> prefix, String command, String... arguments) throws IOException {
        List<String> line = new ArrayList<>(prefix);
        line.add(ROOT.resolve("deploy").resolve(command).toString());
        line.addAll(List.of(arguments));
        Path log = directory.resolve("command-" + number++ + ".log");
        ProcessBuilder builder =
                new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().put("XDG_STATE_HOME", directory.resolve("state").toString());
        builder.environment().put("SHARDLOOM_BUILD", "never");
        builder.directory(directory.toFile());
        Process process = builder.start();
        process.getOutputStream().close();
        started.add(process);
        return new Running(process, log);
    }

    Result run(String command, String... arguments) throws IOException, InterruptedException {
        return start(command, arguments).await(Duration.ofSeconds(120));
    }

    JsonNode status(Path outputDir) throws IOException, InterruptedException {
        return new ObjectMapper()
                .readTree(run("status.sh", "--json", "--run", outputDir.toString())
                        .expect(0)
                        .output());
    }

    /** Polls metrics.jsonl until its last line satisfies the condition. */
    static JsonNode awaitMetrics(Path outputDir, Duration limit, Running run, Predicate<JsonNode> condition)
            throws IOException, InterruptedException {
        long end = System.nanoTime() + limit.toNanos();
        while (System.nanoTime() < end) {
            List<JsonNode> lines = metrics(outputDir);
            if (!lines.isEmpty() && condition.test(lines.get(lines.size() - 1))) {
                return lines.get(lines.size() - 1);
            }
            if (!run.process().isAlive()) {
                throw new AssertionError("the run ended early:\n" + run.output());
            }
            Thread.sleep(50);
        }
        throw new AssertionError("waited " + limit + " in vain; the run says:\n" + run.output());
    }

    static List<JsonNode> metrics(Path outputDir) throws IOException {
        Path file = outputDir.resolve("metrics.jsonl");
        List<JsonNode> lines = new ArrayList<>();
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file)) {
                try {
                    lines.add(new ObjectMapper().readTree(line));
                } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
                    break; // the line is being written
                }
            }
        }
        return lines;
    }

    /** Losses by step, the last ones where steps were done again after a recovery. */
    static double[] losses(Path outputDir) throws IOException {
        List<JsonNode> lines = metrics(outputDir);
        int steps = lines.stream().mapToInt(l -> l.path("step").asInt()).max().orElse(0);
        double[] losses = new double[steps];
        java.util.Arrays.fill(losses, Double.NaN);
        lines.forEach(l -> losses[l.path("step").asInt() - 1] = l.path("loss").asDouble());
        return losses;
    }

    /** Processes of this program whose command line names the directory. */
    static List<ProcessHandle> processesOf(Path outputDir) {
        return ProcessHandle.allProcesses()
                .filter(p -> commandLine(p).contains(outputDir.toString()))
                .filter(p -> commandLine(p).contains("org.shardloom.deploy.cli.Main"))
                .toList();
    }

    /** Whole: {@link ProcessHandle} knows the first 4,096 bytes only, and the class path of a worker is longer. */
    static String commandLine(ProcessHandle process) {
        try {
            return Files.readString(Path.of("/proc/" + process.pid() + "/cmdline"), StandardCharsets.ISO_8859_1)
                    .replace('\0', ' ');
        } catch (IOException e) {
            return ""; // it has ended
        }
    }

    @Override
    public void close() {
        for (Process process : started) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
    }
}
