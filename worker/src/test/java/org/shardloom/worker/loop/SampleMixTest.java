package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.data.DataFormat;
import org.shardloom.worker.data.DataOptions;
import org.shardloom.worker.data.DataOrder;
import org.shardloom.worker.data.Dataset;
import org.shardloom.worker.data.DatasetBuilder;

/** How often samples of mixed data sets are seen, and in which order. */
class SampleMixTest {
    @TempDir
    Path directory;

    /** Samples whose second token is their number, from that one on. */
    private Dataset dataset(int from, int count) throws Exception {
        List<String> lines = new ArrayList<>();
        for (int i = from; i < from + count; i++) {
            lines.add("{\"input_ids\": [1, " + i + "], \"labels\": [-100, " + i + "]}");
        }
        Path file = Files.write(directory.resolve(from + ".jsonl"), lines);
        return DatasetBuilder.forTokens(new DataOptions(DataFormat.PRETOKENIZED, 8, 4, true, 0))
                .build(List.of(file));
    }

    private static List<Integer> epoch(SampleMix mix, int epoch) {
        List<Integer> seen = new ArrayList<>();
        for (long p = (long) epoch * mix.epochSize(); p < (epoch + 1L) * mix.epochSize(); p++) {
            seen.add(mix.at(p).inputIds()[1]);
        }
        return seen;
    }

    private static Map<Integer, Long> counts(List<Integer> seen) {
        return seen.stream().collect(Collectors.groupingBy(i -> i, TreeMap::new, Collectors.counting()));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void everyDataSetHasItsShareOfEveryEpoch(boolean shuffle) throws Exception {
        SampleMix mix = new SampleMix(List.of(dataset(100, 10), dataset(200, 8)), List.of(2.0, 0.5), 5, shuffle);
        assertEquals(24, mix.epochSize());
        Map<Integer, Long> first = counts(epoch(mix, 0));
        for (int i = 100; i < 110; i++) {
            assertEquals(2, first.get(i), "sample " + i);
        }
        assertEquals(4, first.keySet().stream().filter(i -> i >= 200).count());
        List<Integer> both = epoch(mix, 0);
        both.addAll(epoch(mix, 1));
        Map<Integer, Long> two = counts(both);
        for (int i = 200; i < 208; i++) {
            assertEquals(1, two.get(i), "two halves are the whole: " + i);
        }
        assertEquals(shuffle, !epoch(mix, 0).equals(epoch(mix, 2)));
        assertTrue(mix.summary().endsWith("24 samples an epoch"), mix.summary());
    }

    @Test
    void aDataSetAloneIsInTheOrderThatItAlwaysWas() throws Exception {
        SampleMix mix = new SampleMix(List.of(dataset(0, 17)), List.of(1.0), 42, true);
        DataOrder order = new DataOrder(42, 17, true);
        for (long p = 0; p < 60; p++) {
            assertEquals(order.sampleAt(p), mix.at(p).inputIds()[1]);
        }
    }

    @Test
    void otherWeightsAreOtherData() throws Exception {
        List<Dataset> two = List.of(dataset(100, 4), dataset(200, 4));
        assertNotEquals(
                new SampleMix(two, List.of(1.0, 1.0), 1, true).digest("m"),
                new SampleMix(two, List.of(1.0, 0.5), 1, true).digest("m"));
    }
}
