package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every benchmark at tiny sizes: what it prints, what it refuses, and that nothing is left. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class BenchCommandTest {
    private static final Path TEMPORARY = Path.of(System.getProperty("java.io.tmpdir"));

    @TempDir
    private Path directory;

    @ParameterizedTest
    @CsvSource({"1,shm", "2,shm", "2,aeron"})
    void stepReportsSpeedSplitAndMemoryOfEveryWorker(int workers, String transport) throws IOException {
        List<Path> before = Bench.left(TEMPORARY);
        JsonNode json = Bench.run(
                        "step",
                        "--config",
                        Bench.tinyJob(directory).toString(),
                        "--workers",
                        String.valueOf(workers),
                        "--transport",
                        transport,
                        "--threads",
                        "1",
                        "--steps",
                        "3",
                        "--warmup",
                        "1",
                        "--json")
                .json();
        assertEquals(workers, json.path("workers").asInt());
        assertEquals(1, json.path("threads").asInt());
        assertEquals(2, json.path("stage").asInt());
        assertTrue(json.path("recompute").asBoolean());
        assertEquals("fp32", json.path("precision").asText());
        assertEquals(16, json.path("sequence").asInt());
        assertEquals(3, json.path("micro_batch").asInt());
        assertEquals(3, json.path("measured_steps").asInt());
        assertEquals(1, json.path("warmup_steps").asInt());
        assertTrue(List.of("baseline", "avx2", "avx512", "amx")
                .contains(json.path("instruction_set").asText()));
        double step = json.path("step_ms").asDouble();
        assertEquals(48 * workers / step * 1e3, json.path("tokens_per_second").asDouble(), 1e-6 * 48 / step * 1e3);
        assertTrue(json.path("step_ms_min").asDouble() <= step);
        assertTrue(json.path("step_ms_max").asDouble() >= step);
        for (String phase : List.of("forward_ms", "backward_ms", "optimizer_ms", "communication_ms")) {
            assertTrue(json.path(phase).isNumber(), phase);
            assertTrue(json.path(phase).asDouble() <= json.path("step_ms_max").asDouble(), phase);
        }
        assertEquals(workers, json.path("peak_rss_bytes").size());
        json.path("peak_rss_bytes").forEach(bytes -> assertTrue(bytes.asLong() > 10_000_000, "resident " + bytes));
        // Random weights: about log(vocabulary).
        assertEquals(Math.log(96), json.path("loss").asDouble(), 0.3);
        assertEquals(before, Bench.left(TEMPORARY));
    }

    @Test
    void optionsReplaceWhatTheJobFileSays() throws IOException {
        JsonNode json = Bench.run(
                        "step",
                        "--config",
                        Bench.tinyJob(directory).toString(),
                        "--no-recompute",
                        "--stage",
                        "3",
                        "--precision",
                        "bf16",
                        "--steps",
                        "1",
                        "--warmup",
                        "0",
                        "--json")
                .json();
        assertFalse(json.path("recompute").asBoolean());
        assertEquals(3, json.path("stage").asInt());
        assertEquals("bf16", json.path("precision").asText());
    }

    @ParameterizedTest
    @CsvSource({"lora", "qlora"})
    void stepTrainsWhatAMethodTrains(String method) throws IOException {
        JsonNode json = Bench.run(
                        "step",
                        "--config",
                        Bench.tinyJob(directory).toString(),
                        "--method",
                        method,
                        "--workers",
                        "2",
                        "--steps",
                        "2",
                        "--warmup",
                        "0",
                        "--json")
                .json();
        assertEquals(method, json.path("method").asText());
        assertEquals(Math.log(96), json.path("loss").asDouble(), 0.3);
        JsonNode held = json.path("allocated_bytes_at_peak");
        // query_key_value [64, 32] and dense [32, 32], two layers, halved over the workers: weights and moments in
        // fp32.
        assertEquals(
                12 * 2 * 8 * (64 + 32 + 32 + 32) / 2,
                held.path("optimizer_bytes").asLong());
        assertTrue(held.path("parameters_bytes").asLong() > 0, held.toString());
    }

    @Test
    void aRunOverItsTimeLimitLeavesNothing() throws IOException {
        List<Path> before = Bench.left(TEMPORARY);
        String job = Bench.tinyJob(directory).toString();
        Bench.Outcome outcome = Bench.run("step", "--config", job, "--workers", "2", "--time-limit", "0");
        assertEquals(1, outcome.status());
        assertTrue(outcome.error().contains("not done after 0 s"), outcome.error());
        assertEquals(before, Bench.left(TEMPORARY));
        assertEquals(List.of(), children());
    }

    @Test
    void aRankThatIsKilledEndsTheOthersAndIsNamed() throws Exception {
        List<Path> before = Bench.left(TEMPORARY);
        String job = Bench.tinyJob(directory).toString();
        CompletableFuture<Bench.Outcome> running = CompletableFuture.supplyAsync(
                () -> Bench.run("step", "--config", job, "--workers", "2", "--steps", "100000000"));
        while (children().size() < 2 && !running.isDone()) {
            Thread.sleep(20);
        }
        children().get(0).destroyForcibly();
        Bench.Outcome outcome = running.get();
        assertEquals(1, outcome.status());
        assertTrue(outcome.error().matches("(?s)rank [01] ended with status .*"), outcome.error());
        assertEquals(before, Bench.left(TEMPORARY));
        assertEquals(List.of(), children());
    }

    /** The ranks' processes: this JVM starts no others that run Java. */
    private static List<ProcessHandle> children() {
        return ProcessHandle.current()
                .descendants()
                .filter(ProcessHandle::isAlive)
                .filter(child -> child.info().command().orElse("").endsWith("/java"))
                .toList();
    }

    @Test
    void adamReportsNanosecondsAndBytesByThreads() throws IOException {
        JsonNode json = Bench.run("adam", "--parameters", "10000", "--threads", "1,2", "--steps", "2", "--json")
                .json();
        JsonNode results = json.path("results");
        assertEquals(4, results.size());
        assertEquals(28, results.get(0).path("bytes_per_param").asInt());
        assertEquals(30, results.get(3).path("bytes_per_param").asInt());
        assertEquals(2, results.get(3).path("threads").asInt());
        for (JsonNode row : results) {
            double expected = row.path("bytes_per_param").asInt()
                    / row.path("ns_per_param").asDouble()
                    * 1e9;
            assertEquals(expected, row.path("bytes_per_second").asDouble(), 1e-6 * expected);
        }
    }

    @Test
    void gemmReportsEveryLayerPassAndType() throws IOException {
        JsonNode json = Bench.run("gemm", "--config", Bench.tinyJob(directory).toString(), "--steps", "1", "--json")
                .json();
        assertEquals(5 * 3 * 2, json.path("results").size());
        for (JsonNode row : json.path("results")) {
            double flops = 2.0
                    * row.path("tokens").asLong()
                    * row.path("outputs").asLong()
                    * row.path("inputs").asLong();
            assertEquals(
                    flops / row.path("seconds").asDouble() / 1e9,
                    row.path("gflops_per_second").asDouble(),
                    1e-6 * flops);
        }
    }

    @ParameterizedTest
    @CsvSource({"shm,8", "aeron,4"})
    void collectivesReportEveryOperation(String transport, int operations) throws IOException {
        List<Path> before = Bench.left(TEMPORARY);
        JsonNode json = Bench.run(
                        "collectives",
                        "--workers",
                        "2",
                        "--sizes",
                        "1,2",
                        "--transport",
                        transport,
                        "--steps",
                        "2",
                        "--json")
                .json();
        assertEquals(2 * operations, json.path("results").size());
        JsonNode first = json.path("results").get(0);
        assertEquals("all_gather", first.path("operation").asText());
        assertEquals("bf16", first.path("dtype").asText());
        assertEquals(1 << 20, first.path("bytes").asLong());
        assertTrue(first.path("bytes_per_second").asDouble() > 0);
        assertEquals(before, Bench.left(TEMPORARY));
    }

    @Test
    void checkpointReportsEveryOperationAndCleansUp() throws IOException {
        JsonNode json = Bench.run(
                        "checkpoint",
                        "--config",
                        Bench.tinyJob(directory).toString(),
                        "--dir",
                        directory.toString(),
                        "--steps",
                        "2",
                        "--warmup",
                        "0",
                        "--json")
                .json();
        List<String> operations = new ArrayList<>();
        json.path("results").forEach(row -> operations.add(row.path("operation").asText()));
        assertEquals(List.of("write", "sync", "save", "verify", "read", "export"), operations);
        assertEquals(List.of(), Bench.left(directory));
    }

    @Test
    void tablesAreTheDefault() {
        Bench.Outcome outcome = Bench.run("adam", "--parameters", "1000", "--threads", "1", "--steps", "1");
        assertEquals(0, outcome.status());
        assertTrue(outcome.out().contains("ns_per_param"), outcome.out());
        assertTrue(outcome.out().contains("GB/s"), outcome.out());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "nothing",
                "step --config X",
                "step --workers 0",
                "step --workers four",
                "step --stage 1",
                "step --precision int8",
                "step --method adapters",
                "step --transport tcp",
                "step --threads -1",
                "step --steps 0",
                "step --warmup -1",
                "step --unknown",
                "gemm --config S,X",
                "gemm --precision fp8",
                "adam --threads 0",
                "adam --parameters 0",
                "collectives --sizes 0",
                "collectives --sizes 1,x",
                "collectives --transport nccl",
                "checkpoint --dir /nowhere/at/all",
                "checkpoint --config X"
            })
    void badArgumentsAreRefused(String line) {
        Bench.Outcome outcome = Bench.run(line.isEmpty() ? new String[0] : line.split(" "));
        assertEquals(2, outcome.status(), outcome.error());
        assertFalse(outcome.error().isBlank());
        assertEquals("", outcome.out());
    }

    @Test
    void aJobFileWithAnUnknownKeyIsRefused() throws IOException {
        Path job = Bench.tinyJob(directory);
        java.nio.file.Files.writeString(job, java.nio.file.Files.readString(job) + "presicion: bf16\n");
        Bench.Outcome outcome = Bench.run("step", "--config", job.toString());
        assertEquals(2, outcome.status());
        assertTrue(outcome.error().contains("presicion"), outcome.error());
    }

    @ParameterizedTest
    @ValueSource(strings = {"step", "gemm", "adam", "collectives", "checkpoint"})
    void helpNamesDefaults(String benchmark) {
        Bench.Outcome outcome = Bench.run(benchmark, "--help");
        assertEquals(0, outcome.status());
        assertTrue(outcome.out().contains("default:"), outcome.out());
        assertTrue(outcome.out().contains("--json"), outcome.out());
    }
}
