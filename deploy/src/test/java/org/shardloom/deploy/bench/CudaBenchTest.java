package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.cuda.KernelCosts;

/** Benchmarks of GPUs over the simulated driver: that what they print is complete and labelled. Nothing is said of speed: no GPU takes part. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class CudaBenchTest {
    @TempDir
    private Path directory;

    private static void labelled(JsonNode json) {
        assertTrue(json.path("gpu").asText().startsWith("simulated"), json.toString());
        assertTrue(json.path("simulated").asBoolean());
        assertTrue(json.path("note").asText().startsWith("SIMULATED"), json.toString());
    }

    /** A job of a ChatGLM-6B of a few thousand parameters. */
    private static Path firstGlmJob(Path directory) throws IOException {
        Path job = Bench.tinyJob(directory);
        Files.writeString(
                directory.resolve("config.json"),
                """
                {"model_type": "chatglm", "position_encoding_2d": true, "vocab_size": 96, "hidden_size": 32, "num_layers": 2,
                 "num_attention_heads": 4, "inner_hidden_size": 64, "max_sequence_length": 64, "layernorm_epsilon": 1e-05,
                 "bos_token_id": 94, "eos_token_id": 95, "mask_token_id": 90, "gmask_token_id": 91, "pad_token_id": 3}
                """);
        return job;
    }

    @Test
    void everyFamilyOfKernelsIsReportedAgainstItsFloor() throws Exception {
        String job = Bench.tinyJob(directory).toString();
        JsonNode json = SimulatedBench.run(
                directory,
                1,
                "kernels",
                "--device",
                "cuda",
                "--config",
                job + "," + firstGlmJob(Files.createDirectory(directory.resolve("first"))),
                "--tokens",
                "20",
                "--card",
                "a100-80gb",
                "--steps",
                "2",
                "--warmup",
                "1",
                "--flush",
                "1");
        labelled(json);
        assertEquals("a100-80gb", json.path("card").asText());
        Set<String> reported = new TreeSet<>();
        for (JsonNode row : json.path("results")) {
            String kernel = row.path("kernel").asText();
            String text = row.toString();
            reported.add(KernelCosts.named(kernel).orElseThrow().prefix());
            for (String figure : new String[] {"micros", "micros_min", "micros_max", "launches"}) {
                assertTrue(row.path(figure).asDouble() > 0, text);
            }
            for (String figure : new String[] {"bytes_per_second", "floor_micros", "share_of_floor"}) {
                assertTrue(row.path(figure).asDouble() > 0, text);
            }
            assertTrue(row.path("gflops_per_second").isNumber(), text);
            double share =
                    row.path("floor_micros").asDouble() / row.path("micros").asDouble();
            assertEquals(share, row.path("share_of_floor").asDouble(), 1e-9, text);
            assertTrue(
                    Set.of("memory", "arithmetic").contains(row.path("bound_by").asText()), text);
        }
        // Those of collectives and of generation; and heads of 8 elements do not go to tensor cores.
        Set<KernelCosts> others = EnumSet.of(
                KernelCosts.SUM_RANKS,
                KernelCosts.CACHE_APPEND,
                KernelCosts.FLASH_ATTENTION,
                KernelCosts.FLASH_ATTENTION_GRAD_QUERY,
                KernelCosts.FLASH_ATTENTION_GRAD_KEY,
                KernelCosts.FLASH_SUM_PARTS);
        Set<String> expected = new TreeSet<>();
        EnumSet.complementOf(EnumSet.copyOf(others)).forEach(family -> expected.add(family.prefix()));
        assertEquals(expected, reported);
    }

    @Test
    void aCardWhoseRatesAreNotKnownHasNoFloor() throws Exception {
        String job = Bench.tinyJob(directory).toString();
        JsonNode json = SimulatedBench.run(
                directory,
                1,
                "kernels",
                "--config",
                job,
                "--tokens",
                "3",
                "--steps",
                "1",
                "--warmup",
                "0",
                "--flush",
                "0");
        labelled(json);
        assertTrue(json.path("card").asText().startsWith("unknown"), json.toString());
        json.path("results")
                .forEach(row -> assertEquals("-", row.path("share_of_floor").asText()));
        assertTrue(json.path("results").size() > 20);
    }
}
