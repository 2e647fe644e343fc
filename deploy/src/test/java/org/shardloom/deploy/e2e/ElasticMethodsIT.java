package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.deploy.e2e.Commands.Running;

/** Tuning methods are scaled, stopped and resumed like full fine-tuning, with the losses of an undisturbed run. */
class ElasticMethodsIT {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final int STEPS = 40;

    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "tiny-chatglm3 | {type: qlora, rank: 4, targets: all, dropout: 0.1}",
                "tiny-chatglm2 | {type: p_tuning, virtual_tokens: 6}",
                "tiny-chatglm1 | {type: p_tuning_v2, prefix_length: 4, projection: true}",
                "tiny-chatglm1 | {type: freeze, train: [word_embeddings, layers.1.]}"
            })
    @Timeout(value = 180, unit = TimeUnit.SECONDS)
    void scaledStoppedAndResumedRunsHaveTheLossesOfAnUndisturbedOne(String model, String method) throws Exception {
        Path job = TinyJob.write(directory, model, 2, 3);
        Files.writeString(job, Files.readString(job) + "method: " + method + "\n");
        Path calm = directory.resolve("calm");
        Path output = directory.resolve("output");
        try (CleanRoom room = new CleanRoom(directory)) {
            start(room, job, "--workers", "1", "--set", "output_dir=" + calm)
                    .await(LIMIT)
                    .expect(0);
            Running run = start(room, job, "--set", "train.min_step_seconds=0.5");
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= 3);
            room.run("scale.sh", "3", "--run", output.toString()).expect(0);
            int scaled = Commands.awaitMetrics(
                            output, LIMIT, run, m -> m.path("workers").asInt() == 3)
                    .path("step")
                    .asInt();
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= scaled + 2);
            room.run("stop.sh", "--run", output.toString()).expect(0);
            run.await(LIMIT).expect(0);
            assertTrue(Commands.metrics(output).size() < STEPS, "stopped in time");
            start(room, job, "--resume", "latest", "--workers", "1", "--set", "zero.stage=2")
                    .await(LIMIT)
                    .expect(0);
            double[] expected = Commands.losses(calm);
            double[] actual = Commands.losses(output);
            assertEquals(STEPS, expected.length);
            assertEquals(STEPS, actual.length);
            for (int i = 0; i < STEPS; i++) {
                assertEquals((float) expected[i], (float) actual[i], "loss of step " + (i + 1));
            }
            room.assertNothingLeft(output);
        }
    }

    private static Running start(CleanRoom room, Path job, String... more) throws Exception {
        Stream<String> common = Stream.of("--config", job.toString(), "--set", "train.max_steps=" + STEPS);
        return room.start("start.sh", Stream.concat(common, Stream.of(more)).toArray(String[]::new));
    }
}
