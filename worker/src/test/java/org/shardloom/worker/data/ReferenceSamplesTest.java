package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.lines;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** Samples and batches against those of the ChatGLM-Finetuning repository's data sets. */
class ReferenceSamplesTest {
    @TempDir
    Path temp;

    private static Tokenizer open(Family family) {
        return Tokenizers.open(shared("fixtures/tokenizers/chat" + version(family)), family);
    }

    private static String version(Family family) {
        return family.name().toLowerCase(Locale.ROOT);
    }

    private static int modelVocabulary(Family family) {
        return family == Family.GLM1 ? 130528 : 65024;
    }

    @ParameterizedTest
    @CsvSource({
        "GLM1,spo_0,64,32", "GLM1,spo_0,256,160", "GLM1,d2q_0,64,32", "GLM1,d2q_0,256,160",
        "GLM2,spo_0,64,32", "GLM2,spo_0,256,160", "GLM2,d2q_0,64,32", "GLM2,d2q_0,256,160",
        "GLM3,spo_0,64,32", "GLM3,spo_0,256,160", "GLM3,d2q_0,64,32", "GLM3,d2q_0,256,160"
    })
    void samplesAreThoseOfTheReference(Family family, String name, int maxLength, int maxSource) throws Exception {
        Path data = firstLines(name);
        List<JsonNode> expected = lines(shared("fixtures/dataset/" + name + "." + version(family) + ".len" + maxLength
                + ".src" + maxSource + ".jsonl"));
        assertEquals(60, expected.size());
        try (Tokenizer tokenizer = open(family)) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            DataOptions cutting =
                    new DataOptions(DataFormat.ALPACA, maxLength, maxSource, true, modelVocabulary(family));
            Dataset all = DatasetBuilder.forText(cutting, template).build(List.of(data));
            assertEquals(60, all.size());
            int kept = 0;
            for (int i = 0; i < 60; i++) {
                JsonNode line = expected.get(i);
                assertSample(line, all.sample(i), "line " + i);
                assertEquals(
                        !line.get("kept_with_is_skip").asBoolean(),
                        all.sample(i).truncated());
                kept += line.get("kept_with_is_skip").asBoolean() ? 1 : 0;
            }
            assertEquals(60 - kept, all.summary().cut());
            checkSkipping(expected, kept, template, maxLength, maxSource, data);
        }
    }

    private static void checkSkipping(
            List<JsonNode> expected, int kept, ChatTemplate template, int maxLength, int maxSource, Path data) {
        DataOptions skipping = new DataOptions(DataFormat.ALPACA, maxLength, maxSource, false, 0);
        if (kept == 0) {
            return;
        }
        Dataset dataset = DatasetBuilder.forText(skipping, template).build(List.of(data));
        assertEquals(kept, dataset.size());
        assertEquals(60 - kept, dataset.summary().skippedTooLong());
        int next = 0;
        for (JsonNode line : expected) {
            if (line.get("kept_with_is_skip").asBoolean()) {
                assertSample(line, dataset.sample(next++), "kept line " + line.get("line"));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"GLM1,spo_0", "GLM1,d2q_0", "GLM2,spo_0", "GLM2,d2q_0", "GLM3,spo_0", "GLM3,d2q_0"})
    void microBatchesAreThoseOfTheReference(Family family, String name) throws Exception {
        JsonNode expected = json(shared("fixtures/dataset/collate." + name + "." + version(family) + ".json"));
        try (Tokenizer tokenizer = open(family)) {
            DataOptions options = new DataOptions(DataFormat.ALPACA, 64, 32, true, 0);
            Dataset dataset =
                    DatasetBuilder.forText(options, ChatTemplate.of(tokenizer)).build(List.of(firstLines(name)));
            int rows = expected.get("first_rows").intValue();
            List<Sample> samples = new ArrayList<>();
            for (int i = 0; i < rows; i++) {
                samples.add(dataset.sample(i));
            }
            MicroBatch batch = MicroBatch.of(samples, tokenizer.padId());
            assertArrayEquals(flat(expected.get("input_ids")), batch.inputIds());
            assertArrayEquals(flat(expected.get("labels")), batch.labels());
            assertEquals(rows, batch.rows());
            assertEquals(expected.get("input_ids").get(0).size(), batch.columns());
        }
    }

    private Path firstLines(String name) throws Exception {
        List<String> lines = Files.readAllLines(shared("data/" + name + ".json"));
        return Files.write(temp.resolve(name + ".json"), lines.subList(0, 60));
    }

    private static int[] flat(JsonNode rows) {
        Ids ids = new Ids(64);
        rows.forEach(row -> ids.add(ints(row)));
        return ids.toArray();
    }

    private static void assertSample(JsonNode expected, Sample sample, String what) {
        assertArrayEquals(ints(expected.get("input_ids")), sample.inputIds(), what);
        assertArrayEquals(ints(expected.get("labels")), sample.labels(), what);
    }
}
