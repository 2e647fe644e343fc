package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.Commands.Running;

/** A disk that is full pauses a run; space, or a stop, ends the pause. One that is read-only is refused. */
@Timeout(value = 150, unit = TimeUnit.SECONDS)
class FullDiskIT {
    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;
    private Path disk;

    @BeforeEach
    void open() throws Exception {
        room = new CleanRoom(directory);
        job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        disk = Files.createDirectories(directory.resolve("disk"));
        boolean mounted = new ProcessBuilder("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk.toString())
                        .start()
                        .waitFor()
                == 0;
        if (!mounted) {
            System.err.println("*** SKIPPED: mounting is not permitted ***");
        }
        Assumptions.assumeTrue(mounted, "mounting is not permitted");
    }

    @AfterEach
    void close() throws Exception {
        room.close();
        new ProcessBuilder("umount", "-l", disk.toString()).start().waitFor();
    }

    private String[] with(String... settings) {
        return TinyJob.with(job, settings);
    }

    @Test
    void aFullDiskPausesTheRunUntilThereIsSpaceAgain() throws Exception {
        Path output = disk.resolve("output");
        String[] steps = {"train.max_steps=12", "train.min_step_seconds=0.2"};
        room.run("start.sh", with(steps)).expect(0);
        Running run = room.start(
                "start.sh",
                with(Stream.concat(Stream.of(steps), Stream.of("output_dir=" + output))
                        .toArray(String[]::new)));
        Commands.awaitMetrics(output, CleanRoom.LIMIT, run, m -> true);
        Path filler = fill(disk);
        CleanRoom.await("the pause", run, () -> run.output().contains("paused after step 12: no space"));
        JsonNode status = room.commands.status(output);
        assertTrue(status.path("detail").asText().startsWith("paused: no space"), status.toString());
        assertEquals(12, status.path("step").asInt());
        Files.delete(filler);
        CleanRoom.assertSays(
                run.await(CleanRoom.LIMIT).expect(0).output(), List.of("there is space again", "done: 12 steps"));
        assertArrayEquals(Commands.losses(room.output), Commands.losses(output), 1e-4);
        room.assertNothingLeft(output);
    }

    @Test
    void aStopWhileThereIsNoSpaceEndsTheRunAtOnceAndSaysWhatIsLost() throws Exception {
        for (String[] stop : new String[][] {{}, {"--now"}}) {
            Path output = disk.resolve("output" + stop.length);
            Running run = room.start(
                    "start.sh",
                    with(
                            "train.max_steps=5000",
                            "train.min_step_seconds=0.1",
                            "checkpoint.every_steps=8",
                            "output_dir=" + output));
            Commands.awaitMetrics(
                    output, CleanRoom.LIMIT, run, m -> m.path("step").asInt() >= 9);
            Path filler = fill(disk);
            CleanRoom.await("the pause", run, () -> run.output().contains("paused after step 16: no space"));
            long asked = System.nanoTime();
            String said = room.run("stop.sh", stop).expect(0).output();
            assertTrue(System.nanoTime() - asked < Duration.ofSeconds(15).toNanos(), "not at once");
            List<String> lost = List.of(
                    "stopped at step 16, last checkpoint " + output + "/checkpoint-8 (no space for a checkpoint",
                    ": 8 steps are lost; --resume latest goes on");
            CleanRoom.assertSays(said, lost);
            CleanRoom.assertSays(run.await(CleanRoom.LIMIT).expect(0).output(), lost);
            Files.delete(filler);
            room.assertNothingLeft(output);
            room.refused(
                    2,
                    List.of("no run is under way in " + output, "--resume latest goes on from checkpoint-8"),
                    "status.sh");
        }
    }

    @Test
    void anOutputDirectoryOnAReadOnlyDiskIsRefusedBeforeAnythingStarts() throws Exception {
        assertEquals(
                0,
                new ProcessBuilder("mount", "-o", "remount,ro", disk.toString())
                        .start()
                        .waitFor());
        Path output = disk.resolve("output");
        for (String command : List.of("start.sh", "shardloom")) {
            Stream<String> arguments = Stream.concat(
                    Stream.of("validate").filter(s -> command.equals("shardloom")),
                    Stream.of(with("output_dir=" + output)));
            room.refused(
                    2,
                    List.of("output_dir: can't be written", "may not write to " + disk),
                    command,
                    arguments.toArray(String[]::new));
        }
        assertFalse(Files.exists(room.output), "something was written elsewhere");
        room.assertNothingLeft(output);
    }

    /** A file that takes all the space there is. */
    private static Path fill(Path disk) throws IOException {
        Path filler = disk.resolve("filler");
        try (OutputStream out = Files.newOutputStream(filler)) {
            for (byte[] piece = new byte[4096]; ; ) {
                out.write(piece);
            }
        } catch (IOException full) {
            return filler;
        }
    }
}
