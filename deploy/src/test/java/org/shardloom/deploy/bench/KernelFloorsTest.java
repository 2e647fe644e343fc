package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.tensor.DType;

/** Floors of kernels, which no GPU is asked for. */
class KernelFloorsTest {
    /** And every kernel of the sources is of a family, as the kernels' own tests see to. */
    @Test
    void everyFamilyOfKernelsHasACaseAtTheShapesOfA6bModel() {
        Set<KernelCosts> found = EnumSet.noneOf(KernelCosts.class);
        for (String model : List.of("chatglm3-6b", "chatglm-6b")) {
            for (DType dtype : List.of(DType.BF16, DType.F32)) {
                KernelCases.of(null, BenchModel.decoderOf(model), 1560, dtype)
                        .forEach(c -> found.addAll(c.costs().keySet()));
            }
        }
        assertEquals(EnumSet.allOf(KernelCosts.class), found);
    }

    private static Map<String, JsonNode> byOperation(JsonNode json) {
        Map<String, JsonNode> rows = new HashMap<>();
        json.path("results")
                .forEach(row -> rows.put(
                        row.path("config").asText() + " "
                                + row.path("operation").asText() + " "
                                + row.path("kernel").asText(),
                        row));
        return rows;
    }

    @Test
    void floorsFollowFromSizesAndTheCardsRates() throws Exception {
        JsonNode json = Bench.run("kernels", "--floors", "--card", "a100-80gb", "--tokens", "1024", "--json")
                .json();
        assertEquals("a100-80gb", json.path("card").asText());
        Map<String, JsonNode> rows = byOperation(json);
        assertEquals(json.path("results").size(), rows.size(), "no row twice");
        JsonNode add = rows.get("chatglm3-6b add add");
        assertEquals(3 * 1024 * 4096 * 2, add.path("bytes").asLong());
        assertEquals(1024 * 4096, add.path("operations").asLong());
        assertEquals(
                3 * 1024 * 4096 * 2 / 2039e9 * 1e6, add.path("floor_micros").asDouble(), 1e-6);
        assertEquals("memory", add.path("bound_by").asText());
        // Eight parts of 4096 * 4096 / 8 gradients in bf16, and their sums in fp32.
        JsonNode sum = rows.get("chatglm3-6b sum_of_ranks sum_ranks");
        assertEquals(4096 * 4096 * 2 + 4096 * 4096 / 8 * 4, sum.path("bytes").asLong());
        // Keys and values of two groups of 128 elements, read and written.
        JsonNode append = rows.get("chatglm3-6b attention_with_cache cache_append");
        assertEquals(1024 * 2 * 2 * 128 * 2 * 2, append.path("bytes").asLong());
        JsonNode attention = rows.get("chatglm3-6b attention flash_attention");
        assertEquals("arithmetic", attention.path("bound_by").asText());
        double operations = 4.0 * 32 * 128 * 1024 * 1025 / 2;
        assertEquals(operations / 312e12 * 1e6, attention.path("floor_micros").asDouble(), 1e-6);
        assertTrue(rows.containsKey("chatglm-6b gelu gelu"));
    }

    @Test
    void theTableIsOfAnH100UnlessACardIsNamed() {
        Bench.Outcome outcome = Bench.run("kernels", "--floors", "--config", "chatglm3-6b");
        assertEquals(0, outcome.status(), outcome.error());
        assertTrue(outcome.out().lines().anyMatch(line -> line.matches("card +h100-80gb")), outcome.out());
        assertTrue(
                outcome.out().lines().anyMatch(line -> line.matches("config +operation +kernel +bytes +operations .*")),
                outcome.out());
        assertEquals(2, Bench.run("kernels", "--floors", "--card", "h100").status());
    }
}
