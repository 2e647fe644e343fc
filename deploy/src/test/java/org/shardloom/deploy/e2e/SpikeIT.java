package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A run whose gradient explodes in steps 24 and 26 of 28, because of their samples. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class SpikeIT {
    private static final int ROWS = 4;
    private static final int STEPS = 28;
    private static final List<Integer> BAD = List.of(24, 26);
    /** One token that nothing leads to: five times the gradient of the others. */
    private static final String STRANGE =
            "{\"input_ids\": [7, 7, 7, 7, 7, 7], \"labels\": [-100, -100, -100, -100, -100, 7]}";

    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;
    private Path data;

    @BeforeEach
    void open() throws IOException {
        room = new CleanRoom(directory);
        job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        List<String> usual = Files.readAllLines(TinyJob.rows(directory, "tiny-chatglm3"));
        List<String> lines = new ArrayList<>();
        for (int step = 1; step <= STEPS; step++) {
            for (int row = 0; row < ROWS; row++) {
                lines.add(BAD.contains(step) ? STRANGE : usual.get(lines.size() % usual.size()));
            }
        }
        data = Files.write(directory.resolve("strange.jsonl"), lines);
    }

    @AfterEach
    void close() {
        room.close();
    }

    private String[] with(String... settings) {
        return TinyJob.with(
                job,
                Stream.concat(
                                Stream.of(
                                        "data.train=[" + data + "]",
                                        "train.max_steps=" + STEPS,
                                        "train.micro_batch_size=2",
                                        "train.global_batch_size=" + ROWS,
                                        "train.spike.factor=2"),
                                Stream.of(settings))
                        .toArray(String[]::new));
    }

    private String[] resumed(String... settings) {
        return Stream.concat(Stream.of(with(settings)), Stream.of("--resume", "latest"))
                .toArray(String[]::new);
    }

    private List<Boolean> applied() throws IOException {
        return Commands.metrics(room.output).stream()
                .map(m -> m.path("applied").asBoolean())
                .toList();
    }

    @Test
    void anExplosionPausesTheRunBeforeTheUpdateAndAChangedSettingLetsItGoOn() throws Exception {
        List<String> diagnosis = List.of(
                "failed: paused before step 24: the gradient norm has exploded to",
                "look at the samples of this step",
                "train.learning_rate",
                "train.spike.action: ignore",
                "checkpoint-23, from which --resume latest goes on");
        CleanRoom.assertSays(room.run("start.sh", with()).expect(1).output(), diagnosis);
        room.assertNothingLeft(room.output);
        assertEquals(Collections.nCopies(23, true), applied());
        assertTrue(Files.exists(room.output.resolve("checkpoint-23/manifest.pb")));
        assertFalse(Files.exists(room.output.resolve("final")));

        // What is usual is in the checkpoint: a run that begins there is not blind for another 20 steps.
        CleanRoom.assertSays(room.run("start.sh", resumed()).expect(1).output(), diagnosis);
        assertEquals(23, Commands.metrics(room.output).size());

        String text = room.run("start.sh", resumed("train.spike.action=ignore"))
                .expect(0)
                .output();
        CleanRoom.assertSays(text, List.of("training goes on after step 23", "done: 28 steps"));
        assertEquals(Collections.nCopies(STEPS, true), applied());
        assertTrue(Files.exists(room.output.resolve("final/model.safetensors")));
        double[] found = Commands.losses(room.output);

        Path whole = directory.resolve("whole");
        room.run("start.sh", with("train.spike.action=ignore", "output_dir=" + whole))
                .expect(0);
        assertArrayEquals(Commands.losses(whole), found, "as if it had never paused");
        room.assertNothingLeft(room.output);
    }

    @Test
    void skippedStepsAreNamedAndTheRunComesToItsEnd() throws Exception {
        String text =
                room.run("start.sh", with("train.spike.action=skip")).expect(0).output();
        CleanRoom.assertSays(text, List.of("done: 28 steps"));
        assertEquals(
                BAD,
                text.lines()
                        .filter(l -> l.contains(" is left out (train.spike.action: skip), with loss "))
                        .map(l -> Integer.valueOf(l.replaceFirst("^warning: step (\\d+) is.*", "$1")))
                        .toList(),
                text);
        List<JsonNode> metrics = Commands.metrics(room.output);
        assertEquals(STEPS, metrics.size());
        assertEquals(
                BAD,
                metrics.stream()
                        .filter(m -> !m.path("applied").asBoolean())
                        .map(m -> m.path("step").asInt())
                        .toList());
        assertTrue(Files.exists(room.output.resolve("final/model.safetensors")));
        room.assertNothingLeft(room.output);
    }
}
