package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** The reference's training traces through deploy/start.sh, with any number of worker processes. */
class TraceIT {
    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm3,1,2",
        "tiny-chatglm3,2,2",
        "tiny-chatglm3,3,2",
        "tiny-chatglm3,4,2",
        "tiny-chatglm3,1,3",
        "tiny-chatglm3,2,3",
        "tiny-chatglm3,3,3",
        "tiny-chatglm3,4,3",
        "tiny-chatglm2,1,2",
        "tiny-chatglm2,3,2",
        "tiny-chatglm2,4,2",
        "tiny-chatglm2,1,3",
        "tiny-chatglm2,2,3",
        "tiny-chatglm2,4,3",
        "tiny-chatglm1,1,2",
        "tiny-chatglm1,4,2",
        "tiny-chatglm1,1,3",
        "tiny-chatglm1,4,3"
    })
    @Timeout(value = 120, unit = TimeUnit.SECONDS)
    void lossesAndNormsEqualThoseOfPyTorch(String model, int workers, int stage) throws Exception {
        Path job = TinyJob.write(directory, model, workers, stage);
        Path output = directory.resolve("output");
        try (Commands commands = new Commands(directory);
                TensorSource reference = SafetensorsFile.open(TinyJob.file(model, "train.safetensors"))) {
            commands.start("start.sh", "--config", job.toString())
                    .await(Duration.ofSeconds(110))
                    .expect(0);
            float[] losses = reference.readAll("accum4/loss");
            float[] norms = reference.readAll("accum4/grad_norm");
            List<JsonNode> metrics = Commands.metrics(output);
            assertEquals(20, metrics.size());
            for (int i = 0; i < 20; i++) {
                assertEquals(workers, metrics.get(i).path("workers").asInt());
                assertEquals(
                        losses[i], metrics.get(i).path("loss").asDouble(), 1e-4 * losses[i], "loss of step " + (i + 1));
                assertEquals(
                        norms[i],
                        metrics.get(i).path("grad_norm").asDouble(),
                        1e-3 * norms[i],
                        "norm of step " + (i + 1));
            }
            try (TensorSource trained = WeightsDirectory.open(output.resolve("final"))) {
                assertEquals(
                        model.equals("tiny-chatglm1") ? 42 : 25,
                        trained.tensors().size());
                int compared = FinalWeights.assertEqual("accum4/final/param/", reference, trained);
                // The copy that is kept with the tests has the losses only.
                assertTrue(compared == (model.equals("tiny-chatglm1") ? 39 : 24)
                        || compared == 0 && TinyJob.isKept(model));
            }
            assertTrue(Files.exists(output.resolve("final/config.json")));
            assertTrue(Commands.processesOf(output).isEmpty(), "processes are left");
        }
    }

    /** Where a scale overflows, a step is skipped; what is learned is near the fp32 trace. */
    @Test
    @Timeout(value = 120, unit = TimeUnit.SECONDS)
    void fp16LearnsLikeFp32AlsoAfterResuming() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path output = directory.resolve("output");
        try (Commands commands = new Commands(directory);
                TensorSource reference = SafetensorsFile.open(TinyJob.file("tiny-chatglm3", "train.safetensors"))) {
            String[] common = {"--config", job.toString(), "--set", "precision=fp16"};
            commands.start("start.sh", with(common, "--set", "train.max_steps=12"))
                    .await(Duration.ofSeconds(50))
                    .expect(0);
            commands.start("start.sh", with(common, "--resume", "latest", "--workers", "3"))
                    .await(Duration.ofSeconds(50))
                    .expect(0);
            List<JsonNode> metrics = Commands.metrics(output);
            float[] losses = reference.readAll("accum4/loss");
            assertEquals(20, metrics.size());
            long applied = metrics.stream()
                    .filter(step -> step.path("applied").asBoolean())
                    .count();
            assertTrue(applied >= 15, applied + " of 20 steps were applied");
            for (int i = 0; i < 20; i++) {
                assertEquals(
                        losses[i], metrics.get(i).path("loss").asDouble(), 0.1 * losses[i], "loss of step " + (i + 1));
            }
        }
    }

    private static String[] with(String[] first, String... more) {
        return Stream.concat(Stream.of(first), Stream.of(more)).toArray(String[]::new);
    }
}
