package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.Commands.Running;

/** Workers come, go, die and hang; the losses stay those of a run that was left alone. */
@Tag("alone")
class ElasticIT {
    private static final int STEPS = 200;
    private static final Duration LIMIT = Duration.ofSeconds(100);

    @TempDir
    Path directory;

    private Running start(CleanRoom room, Path job, String... more) throws Exception {
        String[] arguments = new String[more.length + 6];
        System.arraycopy(
                new String[] {
                    "--config",
                    job.toString(),
                    "--set",
                    "train.max_steps=" + STEPS,
                    "--set",
                    "checkpoint.every_steps=10"
                },
                0,
                arguments,
                0,
                6);
        System.arraycopy(more, 0, arguments, 6, more.length);
        return room.start("start.sh", arguments);
    }

    @Test
    @Timeout(value = 240, unit = TimeUnit.SECONDS)
    void scaledAndKilledRunHasTheLossesOfAnUndisturbedOne() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 4, 3);
        Path calm = directory.resolve("calm");
        Path output = directory.resolve("output");
        try (CleanRoom room = new CleanRoom(directory)) {
            start(room, job, "--workers", "1", "--set", "output_dir=" + calm)
                    .await(LIMIT)
                    .expect(0);

            Running run = start(room, job, "--set", "train.min_step_seconds=0.25");
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= 5);
            for (int workers : new int[] {2, 3, 4}) {
                System.err.print(room.run("scale.sh", String.valueOf(workers), "--run", output.toString())
                        .expect(0)
                        .output());
                assertEquals(
                        workers, room.commands.status(output).path("workers").size());
            }
            int step = 22;
            for (int rank : new int[] {2, 0}) {
                step = killAndAwaitTraining(room, run, rank, step) + 12;
            }
            run.await(LIMIT).expect(0);

            assertSameLosses(calm, output);
            assertStepsAreInOrder(Commands.metrics(output));
            assertMemoryFallsAsWorkersAreAdded(Commands.metrics(output));
            room.assertNothingLeft(output);
        }
    }

    /** Kills the rank's worker once four train together and that step is done; returns the last step before the kill. */
    private static int killAndAwaitTraining(CleanRoom room, Running run, int rank, int step) throws Exception {
        JsonNode before = Commands.awaitMetrics(
                room.output,
                LIMIT,
                run,
                m -> m.path("workers").asInt() == 4 && m.path("step").asInt() >= step);
        assertTrue(ProcessHandle.of(pidOfRank(room, rank)).orElseThrow().destroyForcibly());
        long killed = System.nanoTime();
        awaitNextGeneration(room.output, run, before);
        double seconds = (System.nanoTime() - killed) * 1e-9;
        System.err.printf("training again %.1f s after kill -9 of rank %d%n", seconds, rank);
        assertTrue(seconds < 20, "training again only " + seconds + " s after kill -9 of rank " + rank);
        return before.path("step").asInt();
    }

    private static long pidOfRank(CleanRoom room, int rank) throws Exception {
        for (JsonNode worker : room.commands.status(room.output).path("workers")) {
            if (worker.path("rank").asInt(-1) == rank) {
                return worker.path("pid").asLong();
            }
        }
        throw new AssertionError("no worker of rank " + rank);
    }

    private static void awaitNextGeneration(Path output, Running run, JsonNode before) throws Exception {
        Commands.awaitMetrics(
                output,
                LIMIT,
                run,
                m -> m.path("generation").asLong() > before.path("generation").asLong());
    }

    /** Not to rounding: gradients are summed in sample order on any number of workers. */
    private static void assertSameLosses(Path calm, Path disturbed) throws Exception {
        double[] expected = Commands.losses(calm);
        double[] actual = Commands.losses(disturbed);
        assertEquals(STEPS, expected.length);
        assertEquals(STEPS, actual.length);
        for (int i = 0; i < STEPS; i++) {
            assertEquals((float) expected[i], (float) actual[i], "loss of step " + (i + 1));
        }
    }

    /** Of a worker's device, whose largest part is optimizer state; the host's peak of so small a model is the program's own. */
    private static void assertMemoryFallsAsWorkersAreAdded(List<JsonNode> metrics) {
        long[] peaks = new long[5];
        for (JsonNode step : metrics) {
            int workers = step.path("workers").asInt();
            peaks[workers] = Math.max(
                    peaks[workers], step.path("device_memory_peak_bytes").asLong());
        }
        assertTrue(peaks[2] > peaks[3] && peaks[3] > peaks[4], java.util.Arrays.toString(peaks));
    }

    /** Within a generation steps follow one another; a new one goes on where the last ended, or at a checkpoint. */
    private static void assertStepsAreInOrder(List<JsonNode> metrics) {
        int recoveries = 0;
        for (int i = 1; i < metrics.size(); i++) {
            int step = metrics.get(i).path("step").asInt();
            int previous = metrics.get(i - 1).path("step").asInt();
            if (step != previous + 1) {
                assertTrue(metrics.get(i).path("generation").asLong()
                        > metrics.get(i - 1).path("generation").asLong());
                assertEquals(1, step % 10, "a recovery goes on from a checkpoint, not from step " + step);
                assertTrue(previous - step < 10, "more was done again than lies after the last checkpoint");
                recoveries++;
            }
        }
        assertTrue(recoveries <= 2, recoveries + " recoveries for two kills");
    }

    @Test
    @Timeout(value = 240, unit = TimeUnit.SECONDS)
    void aWorkerThatHangsIsReplaced() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path calm = directory.resolve("calm");
        Path output = directory.resolve("output");
        try (CleanRoom room = new CleanRoom(directory)) {
            start(room, job, "--set", "output_dir=" + calm).await(LIMIT).expect(0);
            Running run =
                    start(room, job, "--set", "train.min_step_seconds=0.1", "--set", "cluster.lost_after_seconds=4");
            JsonNode before = Commands.awaitMetrics(
                    output, LIMIT, run, m -> m.path("step").asInt() >= 12);
            CleanRoom.signal("STOP", pidOfRank(room, 1));
            awaitNextGeneration(output, run, before);
            run.await(LIMIT).expect(0);
            assertSameLosses(calm, output);
            room.assertNothingLeft(output);
        }
    }

    @Test
    @Timeout(value = 240, unit = TimeUnit.SECONDS)
    void workersEndWithAKilledCoordinatorAndTheRunResumesOnAnotherNumber() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 3, 3);
        Path calm = directory.resolve("calm");
        Path output = directory.resolve("output");
        try (CleanRoom room = new CleanRoom(directory)) {
            start(room, job, "--workers", "2", "--set", "output_dir=" + calm)
                    .await(LIMIT)
                    .expect(0);
            Running run = start(room, job, "--set", "train.min_step_seconds=0.1");
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= 15);
            run.process()
                    .descendants()
                    .filter(p -> Commands.commandLine(p).contains("cli.Main start"))
                    .forEach(ProcessHandle::destroyForcibly);
            run.await(LIMIT);
            long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            while (!Commands.processesOf(output).isEmpty() && System.nanoTime() < end) {
                Thread.sleep(100);
            }
            assertTrue(Commands.processesOf(output).isEmpty(), "workers outlive their coordinator");

            start(room, job, "--workers", "2", "--resume", "latest", "--set", "zero.stage=2")
                    .await(LIMIT)
                    .expect(0);
            assertSameLosses(calm, output);
            room.assertNothingLeft(output);
        }
    }

    @Test
    @Timeout(value = 200, unit = TimeUnit.SECONDS)
    void ctrlCWritesACheckpointAndStops() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path output = directory.resolve("output");
        try (CleanRoom room = new CleanRoom(directory)) {
            Running run = start(room, job, "--set", "train.min_step_seconds=0.2");
            int step = Commands.awaitMetrics(
                            output, LIMIT, run, m -> m.path("step").asInt() >= 3)
                    .path("step")
                    .asInt();
            new ProcessBuilder("kill", "-INT", String.valueOf(run.process().pid()))
                    .start()
                    .waitFor();
            String text = run.await(LIMIT).output();
            assertTrue(text.contains("stopped at step"), text);
            assertTrue(
                    java.nio.file.Files.list(output)
                            .anyMatch(p -> p.getFileName().toString().matches("checkpoint-\\d+")),
                    text);
            assertTrue(Commands.losses(output).length <= step + 4);
            room.assertNothingLeft(output);
        }
    }
}
