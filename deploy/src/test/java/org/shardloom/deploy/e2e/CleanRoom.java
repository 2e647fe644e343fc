package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.shardloom.deploy.e2e.Commands.Result;
import org.shardloom.deploy.e2e.Commands.Running;

/** Commands with a temporary directory of their own, and the question what they left behind. */
final class CleanRoom implements AutoCloseable {
    static final Duration LIMIT = Duration.ofSeconds(60);
    final Path directory;
    final Path output;
    final Commands commands;
    private final List<String> environment;

    CleanRoom(Path directory) throws IOException {
        this.directory = directory;
        this.output = directory.resolve("output");
        this.commands = new Commands(directory);
        Path temporary = Files.createDirectories(directory.resolve("tmp"));
        this.environment = List.of("env", "TMPDIR=" + temporary, "SHARDLOOM_JAVA_OPTS=-Djava.io.tmpdir=" + temporary);
    }

    Running start(String command, String... arguments) throws IOException {
        return startIn(List.of(), command, arguments);
    }

    /** With words before the command, such as {@code ip netns exec NAME}. */
    Running startIn(List<String> prefix, String command, String... arguments) throws IOException {
        List<String> words =
                Stream.concat(prefix.stream(), environment.stream()).toList();
        return commands.startIn(words, command, arguments);
    }

    Result run(String command, String... arguments) throws IOException, InterruptedException {
        return start(command, arguments).await(LIMIT);
    }

    /** A command that ends with the status and one line, which has all the parts. */
    void refused(int status, List<String> parts, String command, String... arguments)
            throws IOException, InterruptedException {
        String text = run(command, arguments).expect(status).output();
        assertTrue(text.startsWith("shardloom: "), text);
        assertEquals(1, text.lines().count(), "more than one line:\n" + text);
        assertSays(text, parts);
    }

    /** Polls until the condition holds. */
    static void await(String what, Running run, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (!condition.call()) {
            assertTrue(System.nanoTime() < end, "waited in vain for " + what + ":\n" + run.output());
            Thread.sleep(100);
        }
    }

    /** Text for people has the parts and no trace of the program's inside. */
    static void assertSays(String text, List<String> parts) {
        for (String part : parts) {
            assertTrue(text.contains(part), "'" + part + "' is not in:\n" + text);
        }
        assertFalse(text.contains("\tat ") || text.contains("Exception"), "a stack trace or a class:\n" + text);
    }

    static void signal(String name, long pid) throws IOException, InterruptedException {
        assertEquals(
                0,
                new ProcessBuilder("kill", "-" + name, String.valueOf(pid))
                        .start()
                        .waitFor());
    }

    /** Workers need a moment after their coordinator. */
    void assertNoProcesses() throws InterruptedException {
        long end = System.nanoTime() + Duration.ofSeconds(10).toNanos();
        while (!Commands.processesOf(directory).isEmpty() && System.nanoTime() < end) {
            Thread.sleep(50);
        }
        assertTrue(Commands.processesOf(directory).isEmpty(), "processes are left");
    }

    /** No process, no way to reach a run, no half checkpoint, no temporary file. */
    void assertNothingLeft(Path run) throws IOException, InterruptedException {
        assertNoProcesses();
        assertFalse(Files.exists(run.resolve("run.json")), "run.json is left");
        assertFalse(Files.exists(run.resolve("run.secret")), "run.secret is left");
        if (Files.isDirectory(run)) {
            try (Stream<Path> entries = Files.list(run)) {
                assertEquals(
                        List.of(),
                        entries.filter(p -> p.getFileName().toString().endsWith(".writing"))
                                .toList());
            }
        }
        try (Stream<Path> entries = Files.list(directory.resolve("tmp"))) {
            assertEquals(List.of(), entries.toList());
        }
    }

    @Override
    public void close() {
        Commands.processesOf(directory).forEach(ProcessHandle::destroyForcibly);
        commands.close();
    }
}
