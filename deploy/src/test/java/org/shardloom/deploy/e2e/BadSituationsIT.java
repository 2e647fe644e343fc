package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.Commands.Result;
import org.shardloom.deploy.e2e.Commands.Running;

/** Strangers, signals, full disks, numbers that explode: a run says what happened and leaves nothing behind. */
@Timeout(value = 150, unit = TimeUnit.SECONDS)
class BadSituationsIT {
    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;

    @BeforeEach
    void open() throws IOException {
        room = new CleanRoom(directory);
        job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
    }

    @AfterEach
    void close() {
        room.close();
    }

    private String[] with(String... settings) {
        return TinyJob.with(job, settings);
    }

    /** A run that goes on for minutes and has done a step. */
    private Running longRun() throws IOException, InterruptedException {
        Running run = room.start("start.sh", with("train.max_steps=5000", "train.min_step_seconds=0.2"));
        Commands.awaitMetrics(room.output, CleanRoom.LIMIT, run, m -> true);
        return run;
    }

    @Test
    void everyCommandExplainsItself() throws Exception {
        for (String command : List.of("start.sh", "status.sh", "scale.sh", "stop.sh", "shardloom")) {
            explains(command, "--help");
        }
        CleanRoom.assertSays(
                room.run("start.sh", "--help").expect(0).output(),
                List.of("--detach", "--role worker --join HOST:PORT"));
        explains("start.sh", "--role", "worker", "--help");
        for (String command : List.of(
                "validate",
                "generate",
                "chat",
                "evaluate",
                "export",
                "merge",
                "convert",
                "import",
                "bench",
                "plan",
                "doctor",
                "worker")) {
            explains("shardloom", command, "--help");
        }
    }

    private void explains(String... command) throws Exception {
        String text = room.run(command[0], java.util.Arrays.copyOfRange(command, 1, command.length))
                .expect(0)
                .output();
        assertTrue(text.startsWith("Usage: shardloom"), text);
    }

    @Test
    void commandsThatMakeNoSenseAreRefusedInOneLine() throws Exception {
        room.refused(2, List.of("at least 1, found 0"), "scale.sh", "0");
        room.refused(2, List.of("'two' is not an int", "--help"), "scale.sh", "two");
        room.refused(2, List.of("'--bad'", "--help"), "start.sh", "--bad");
        room.refused(2, List.of("--role takes worker", "'boss'"), "start.sh", "--role", "boss");
        room.refused(2, List.of("no run was started", "--run OUTPUT_DIR"), "status.sh");
        for (String command : List.of("status.sh", "stop.sh")) {
            room.refused(2, List.of("no run is under way in " + directory), command, "--run", directory.toString());
        }
        room.refused(2, List.of("no run is under way in " + directory), "scale.sh", "2", "--run", directory.toString());
        room.refused(2, List.of("HOST:PORT", "'nowhere'"), "start.sh", "--role", "worker", "--join", "nowhere");
        room.refused(2, List.of("--join", "--role worker"), "start.sh", "--join", "127.0.0.1:1");
        room.refused(2, List.of("--join", "--role worker"), "start.sh", "--join=127.0.0.1:1");
        room.refused(2, List.of("--hosts needs a job file", "--config FILE"), "start.sh", "--hosts", "hosts.txt");
        room.refused(
                2,
                List.of("listening on 10.99.7.2", "--insecure"),
                "start.sh",
                worker("127.0.0.1:1", "--host", "10.99.7.2"));
        room.refused(
                2,
                List.of("listening on 10.99.7.2", "--insecure"),
                "start.sh",
                worker("127.0.0.1:1", "--host", "10.99.7.2", "--config", job.toString()));
    }

    @Test
    void aPortInUseIsNamedBeforeAnyWorkerStarts() throws Exception {
        try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
            room.refused(
                    1,
                    List.of("cannot listen on 127.0.0.1:" + taken.getLocalPort(), "choose another cluster.port"),
                    "start.sh",
                    with("cluster.port=" + taken.getLocalPort()));
        }
        assertFalse(Files.exists(room.output.resolve("logs")), "workers were started");
        room.assertNothingLeft(room.output);
    }

    @Test
    void strangersAreRefusedAndTheRunGoesOn() throws Exception {
        Running run = longRun();
        room.refused(1, List.of(room.output + " is in use by another run", "deploy/stop.sh"), "start.sh", with());
        String address = new ObjectMapper()
                .readTree(room.output.resolve("run.json").toFile())
                .path("join")
                .asText();
        String secret = room.output.resolve("run.secret").toString();
        Path other = Files.writeString(
                directory.resolve("other.yaml"),
                Files.readString(room.output.resolve("job.yaml")).replace("0.001", "0.002"));
        room.refused(
                1,
                List.of("refused by the coordinator", "another job's configuration"),
                "start.sh",
                worker(address, "--secret-file", secret, "--config", other.toString()));
        Path wrong = Files.writeString(directory.resolve("wrong"), "00112233445566778899aabbccddeeff");
        Result result = room.run("start.sh", worker(address, "--secret-file", wrong.toString()))
                .expect(1);
        assertTrue(result.output().contains("secret"), result.output());
        room.refused(2, List.of("secret is needed", "--secret-file"), "start.sh", worker(address));
        room.refused(2, List.of("no readable file /nowhere"), "start.sh", worker(address, "--secret-file", "/nowhere"));
        long before = System.nanoTime();
        room.refused(
                1,
                List.of("no run listens on 127.0.0.1:1", "run.json"),
                "start.sh",
                worker("127.0.0.1:1", "--secret-file", secret));
        assertTrue(System.nanoTime() - before < Duration.ofSeconds(30).toNanos());
        assertEquals(2, room.commands.status(room.output).path("workers").size());

        Running joined = room.start("start.sh", worker(address, "--secret-file", secret));
        Commands.awaitMetrics(
                room.output, CleanRoom.LIMIT, run, m -> m.path("workers").asInt() == 3);
        room.run("stop.sh", "--now", "--run", room.output.toString()).expect(0);
        String text = run.await(CleanRoom.LIMIT).expect(0).output();
        CleanRoom.assertSays(
                text, List.of("warning: refused a worker", "another job's configuration", "stopped at step"));
        assertEquals("", joined.await(CleanRoom.LIMIT).expect(0).output());
        room.assertNothingLeft(room.output);
    }

    private static String[] worker(String address, String... more) {
        return Stream.concat(Stream.of("--role", "worker", "--join", address), Stream.of(more))
                .toArray(String[]::new);
    }

    @Test
    void aLossThatIsNotFiniteStopsTheRunBeforeTheUpdate() throws Exception {
        String text = room.run("start.sh", with("train.learning_rate=1e30", "checkpoint.every_steps=1"))
                .expect(1)
                .output();
        CleanRoom.assertSays(
                text,
                List.of(
                        "failed: paused before step 2: the loss is",
                        "unit",
                        "the update was not applied",
                        "Lower train.learning_rate",
                        "checkpoint-1"));
        assertEquals(1, Commands.metrics(room.output).size());
        assertTrue(Files.exists(room.output.resolve("checkpoint-1").resolve("manifest.pb")));
        room.assertNothingLeft(room.output);
        String exported = directory.resolve("exported").toString();
        room.run("shardloom", "export", "--checkpoint", room.output.toString(), "--output", exported)
                .expect(0);
    }

    @Test
    @Tag("alone")
    void twoInterruptsEndARunAtOnce() throws Exception {
        Running run = longRun();
        CleanRoom.signal("INT", run.process().pid());
        Thread.sleep(100);
        CleanRoom.signal("INT", run.process().pid());
        long asked = System.nanoTime();
        Result result = run.await(CleanRoom.LIMIT);
        assertTrue(System.nanoTime() - asked < Duration.ofSeconds(5).toNanos(), "not at once");
        assertNotEquals(0, result.status());
        CleanRoom.assertSays(result.output(), List.of("ended at once"));
        room.assertNothingLeft(room.output);
    }

    @Test
    void terminationWritesACheckpointFirst() throws Exception {
        Running run = longRun();
        CleanRoom.signal("TERM", run.process().pid());
        CleanRoom.assertSays(
                run.await(CleanRoom.LIMIT).output(), List.of("stopped at step", "--resume latest goes on"));
        room.assertNothingLeft(room.output);
        room.run("start.sh", "--config", room.output + "/job.yaml", "--resume", "latest", "--set", "train.max_steps=1")
                .expect(0);
    }

    private static void killCoordinator(Path output) throws Exception {
        CleanRoom.signal(
                "KILL",
                new ObjectMapper()
                        .readTree(output.resolve("run.json").toFile())
                        .path("pid")
                        .asLong());
    }

    @Test
    void aKilledCoordinatorIsNoticedByEveryCommand() throws Exception {
        Running run = longRun();
        killCoordinator(room.output);
        CleanRoom.assertSays(
                run.await(CleanRoom.LIMIT).output(), List.of("was killed from outside", "--resume latest"));
        room.assertNoProcesses();
        String again = "it left no checkpoint: start again with deploy/start.sh --config " + room.output + "/job.yaml";
        room.refused(2, List.of("the coordinator of the run in " + room.output, "is gone: killed", again), "status.sh");
        room.assertNothingLeft(room.output);
        for (String command : List.of("status.sh", "stop.sh")) {
            room.refused(2, List.of("no run is under way in " + room.output, again), command);
        }
        room.refused(2, List.of("no run is under way in " + room.output, again), "scale.sh", "3");
        room.run("start.sh", with("train.max_steps=1")).expect(0);
        room.assertNothingLeft(room.output);
    }

    @Test
    void detachingReturnsWhenTrainingHasBegunOrTellsWhyNot() throws Exception {
        Path bad = Files.writeString(directory.resolve("bad.jsonl"), "{\n");
        String[] failing = with("data.train=[" + bad + "]", "output_dir=" + directory.resolve("failed"));
        String text = room.run(
                        "start.sh",
                        Stream.concat(Stream.of("--detach"), Stream.of(failing)).toArray(String[]::new))
                .expect(1)
                .output();
        CleanRoom.assertSays(text, List.of("failed: " + bad + ":1:"));
        room.assertNothingLeft(directory.resolve("failed"));
        String[] good = with("train.max_steps=5000", "train.min_step_seconds=0.2");
        text = room.run(
                        "start.sh",
                        Stream.concat(Stream.of("--detach"), Stream.of(good)).toArray(String[]::new))
                .expect(0)
                .output();
        CleanRoom.assertSays(text, List.of("training has begun"));
        assertEquals("training", room.commands.status(room.output).path("state").asText());
        room.run("stop.sh").expect(0);
        assertTrue(Files.readString(room.output.resolve("logs/start.log")).contains("stopped at step"));
        room.assertNothingLeft(room.output);
        Path killed = directory.resolve("killed");
        good = with("train.max_steps=5000", "train.min_step_seconds=0.2", "output_dir=" + killed);
        room.run(
                        "start.sh",
                        Stream.concat(Stream.of("--detach"), Stream.of(good)).toArray(String[]::new))
                .expect(0);
        killCoordinator(killed);
        room.assertNoProcesses();
        assertTrue(Files.readString(killed.resolve("logs/start.log")).contains("training"));
        try (Stream<Path> entries = Files.list(directory.resolve("tmp"))) {
            assertEquals(List.of(), entries.toList());
        }
    }
}
