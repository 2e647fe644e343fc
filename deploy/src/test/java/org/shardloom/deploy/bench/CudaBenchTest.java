package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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

    /** The tiny job's, with heads for tensor cores. */
    private static Path wideJob(Path directory) throws IOException {
        Path job = Bench.tinyJob(directory), config = directory.resolve("config.json");
        Files.writeString(config, Files.readString(config).replace("\"kv_channels\": 8", "\"kv_channels\": 64"));
        return job;
    }

    /** Families of the kernels that the benchmark has run, all of which have figures, a floor among them. */
    private Set<String> measured(String configs, String precision) throws Exception {
        JsonNode json = SimulatedBench.run(
                directory,
                1,
                "kernels",
                "--device",
                "cuda",
                "--config",
                configs,
                "--precision",
                precision,
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
        Set<String> reported = new TreeSet<>(), stated = new TreeSet<>();
        for (JsonNode row : json.path("results")) {
            String text = row.toString();
            KernelCosts family = KernelCosts.named(row.path("kernel").asText()).orElseThrow();
            reported.add(row.path("config").asText() + " "
                    + row.path("operation").asText() + " "
                    + family.prefix().replaceAll("_$", ""));
            for (String figure : new String[] {
                "micros", "micros_min", "micros_max", "launches", "bytes_per_second", "floor_micros", "share_of_floor"
            }) {
                assertTrue(row.path(figure).asDouble() > 0, text);
            }
            assertTrue(row.path("gflops_per_second").isNumber(), text);
            double share =
                    row.path("floor_micros").asDouble() / row.path("micros").asDouble();
            assertEquals(share, row.path("share_of_floor").asDouble(), 1e-9, text);
            assertTrue(
                    Set.of("memory", "arithmetic").contains(row.path("bound_by").asText()), text);
        }
        JsonNode floors = Bench.run(
                        "kernels",
                        "--floors",
                        "--json",
                        "--config",
                        configs,
                        "--precision",
                        precision,
                        "--tokens",
                        "20")
                .json();
        floors.path("results")
                .forEach(row -> stated.add(row.path("config").asText() + " "
                        + row.path("operation").asText() + " "
                        + row.path("kernel").asText()));
        Set<String> kernels = new TreeSet<>(), unstated = new TreeSet<>(reported);
        unstated.removeAll(stated);
        stated.removeAll(reported);
        assertEquals(Set.of(), unstated, "launched, but not stated");
        assertEquals(Set.of(), stated, "stated, but not launched");
        reported.forEach(row -> kernels.add(row.substring(row.lastIndexOf(' ') + 1)));
        return kernels;
    }

    @Test
    void everyKernelIsReportedAgainstItsFloor() throws Exception {
        Path first = firstGlmJob(Files.createDirectory(directory.resolve("first")));
        Set<String> kernels = measured(Bench.tinyJob(directory) + "," + first, "fp32");
        kernels.addAll(measured(
                wideJob(Files.createDirectory(directory.resolve("wide"))).toString(), "bf16"));
        Set<String> expected = new TreeSet<>();
        EnumSet.allOf(KernelCosts.class)
                .forEach(family -> expected.add(family.prefix().replaceAll("_$", "")));
        assertEquals(expected, kernels);
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

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "1|full|stage: 2|true",
                "2|lora|stage: 3, offload_optimizer: false, fixed_order: false|false",
            })
    void stepsReportUtilisationOfTheCard(int workers, String method, String zero, boolean offloaded) throws Exception {
        Path file = Bench.tinyJob(directory);
        Files.writeString(
                file,
                Files.readString(file).replace("stage: 2", zero).replace("init: random", "init: pretrained")
                        + "method: {type: " + method + "}\n");
        String job = file.toString(), number = String.valueOf(workers);
        JsonNode json = SimulatedBench.run(
                directory,
                workers,
                "step",
                "--device",
                "cuda",
                "--config",
                job,
                "--workers",
                number,
                "--card",
                "a100-80gb",
                "--threads",
                "1",
                "--steps",
                "2",
                "--warmup",
                "1");
        labelled(json);
        assertEquals("cuda", json.path("device").asText());
        assertEquals(workers == 1 ? "local" : "nccl", json.path("transport").asText());
        assertEquals(Math.log(96), json.path("loss").asDouble(), 0.3);
        assertEquals(method, json.path("method").asText());
        assertEquals(offloaded, json.path("offload_optimizer").asBoolean());
        assertEquals(offloaded, json.path("fixed_order").asBoolean());
        assertEquals(
                !offloaded,
                json.path("allocated_bytes_at_peak").path("optimizer_bytes").asLong() > 0,
                json.toString());
        assertTrue(json.path("tokens_per_second").asDouble() > 0);
        assertTrue(json.path("allocated_bytes_at_peak").path("parameters_bytes").asLong() > 0, json.toString());
        double perSecond = json.path("model_gflops_per_step_of_a_worker").asDouble()
                / json.path("step_ms").asDouble()
                * 1e3;
        assertEquals(perSecond, json.path("model_gflops_per_second_of_a_worker").asDouble(), 1e-6 * perSecond);
        // The job is of fp32.
        assertEquals(perSecond / 19500, json.path("mfu").asDouble(), 1e-6 * perSecond / 19500);
    }

    @Test
    void aModelsFlopsAreThoseOfItsMatricesAndItsAttention() throws IOException {
        BenchModel model = BenchModel.of(Bench.tinyJob(directory).toString());
        // qkv [64, 32], attention's output [32, 32], gate and up [96, 32], down [32, 48], twice; the head [96, 32].
        double weights = 2 * (64 * 32 + 32 * 32 + 96 * 32 + 32 * 48) + 96 * 32;
        // Three sequences of 16; each token is held against half of its sequence, in two products forward and five
        // backward.
        double attention = 2 * 3 * (16.0 * 16 * 32) * (2 + 5);
        double flops = ModelFlops.ofStep(model);
        assertEquals(6 * weights * 48 + attention, flops, 1);
        double frozen = ModelFlops.ofStep(model.with(null, null, null, "lora"));
        assertTrue(frozen < 0.85 * flops && frozen > 0.6 * flops, frozen + " of " + flops);
    }

    @Test
    void productsAreReportedAgainstThePeak() throws Exception {
        String job = Bench.tinyJob(directory).toString();
        JsonNode json = SimulatedBench.run(
                directory, 1, "gemm", "--device", "cuda", "--config", job, "--card", "h100-80gb", "--steps", "2");
        labelled(json);
        assertEquals(5 * 3 * 2, json.path("results").size());
        for (JsonNode row : json.path("results")) {
            double peak = row.path("precision").asText().equals("fp32") ? 67e3 : 989e3;
            double share = row.path("gflops_per_second").asDouble() / peak;
            assertTrue(share > 0, row.toString());
            assertEquals(share, row.path("share_of_peak").asDouble(), 1e-6 * share);
        }
    }

    @Test
    void aRankWithoutAGpuSaysSoInOneLine() throws Exception {
        String job = Bench.tinyJob(directory).toString();
        String said = assertThrows(
                        AssertionError.class,
                        () -> SimulatedBench.run(
                                directory, 1, "step", "--device", "cuda", "--config", job, "--workers", "2"))
                .getMessage();
        assertTrue(said.matches("bench did not end well: shardloom: rank [01]: .*GPU.*\\R"), said);
    }

    @Test
    void whoNamesNoSuchCardOrDeviceIsTold() {
        Bench.Outcome unknown = Bench.run("kernels", "--card", "abacus");
        assertEquals(2, unknown.status());
        assertTrue(unknown.error().contains("--card is one of rtx3090, "), unknown.error());
        assertEquals(2, Bench.run("step", "--device", "tpu").status());
        assertEquals(2, Bench.run("gemm", "--device", "tpu").status());
        assertEquals(2, Bench.run("kernels", "--device", "cpu").status());
    }
}
