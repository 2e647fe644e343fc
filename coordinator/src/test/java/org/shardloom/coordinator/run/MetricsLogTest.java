package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.message.StepReport;

@Timeout(10)
class MetricsLogTest {
    @TempDir
    Path directory;

    private static StepMetrics metrics(long step, double loss) {
        return StepMetrics.of(
                step,
                10,
                3,
                2.0,
                List.of(
                        new StepReport(loss, 2, true, 1e-4, 30, 0.5, 1.9, Map.of("forward", 1.0), 5, 70),
                        new StepReport(loss, 2, true, 1e-4, 10, 0.5, 1.8, Map.of("forward", 2.0), 9, 60)));
    }

    @Test
    void everyStepIsOneObjectWithAllThatTheDesignNames() throws IOException {
        Path file = directory.resolve("metrics.jsonl");
        try (MetricsLog log = new MetricsLog(file)) {
            log.append(metrics(1, 3.5));
            assertEquals(1, Files.readAllLines(file).size(), "flushed at once");
            log.append(metrics(2, 3.25));
        }
        JsonNode json = new ObjectMapper().readTree(Files.readAllLines(file).get(0));
        for (String key : List.of(
                "step",
                "epoch",
                "loss",
                "grad_norm",
                "learning_rate",
                "tokens",
                "tokens_per_second",
                "workers",
                "generation",
                "seconds",
                "device_memory_peak_bytes",
                "host_memory_peak_bytes")) {
            assertTrue(json.path(key).isNumber(), key);
        }
        assertEquals(40, json.get("tokens").asLong());
        assertEquals(20, json.get("tokens_per_second").asDouble());
        assertEquals(2, json.get("workers").asInt());
        assertEquals(9, json.get("device_memory_peak_bytes").asLong());
        assertEquals(70, json.get("host_memory_peak_bytes").asLong());
        assertEquals("[70,60]", json.get("worker_host_memory_peak_bytes").toString(), "by rank");
        assertEquals(1.5, json.get("phase_seconds").get("forward").asDouble());
    }

    @Test
    void aLossThatIsNoNumberIsNull() throws IOException {
        Path file = directory.resolve("metrics.jsonl");
        try (MetricsLog log = new MetricsLog(file)) {
            log.append(metrics(1, Double.NaN));
        }
        assertTrue(new ObjectMapper().readTree(file.toFile()).get("loss").isNull());
    }

    @Test
    void aLineThatWasCutOffDoesNotSpoilTheNext() throws IOException {
        Path file = directory.resolve("metrics.jsonl");
        try (MetricsLog log = new MetricsLog(file)) {
            log.append(metrics(1, 3));
        }
        Files.writeString(file, Files.readString(file) + "{\"step\": 2, \"lo");
        try (MetricsLog log = new MetricsLog(file)) {
            log.append(metrics(2, 3));
        }
        List<String> lines = Files.readAllLines(file);
        assertEquals(3, lines.size());
        assertEquals(2, new ObjectMapper().readTree(lines.get(2)).get("step").asInt());
    }
}
