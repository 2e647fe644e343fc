package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.weights.SharedFixtures;

/**
 * Logits of sequences that grow through a cache, against those of the whole sequences without one. In fp32 they are equal bit for
 * bit: our products and sums do not depend on how many rows are computed together.
 */
class KeyValueCacheTest {
    private final long seed = Long.getLong("shardloom.seed", System.nanoTime());
    private final Random random = new Random(seed);
    private LoadedModel model;

    @BeforeEach
    void open() throws Exception {
        model = LoadedModel.open(SharedFixtures.tinyChatglm3(), 2, 64);
    }

    @AfterEach
    void close() {
        model.close();
    }

    private int[] tokens(int count) {
        return random.ints(count, 0, model.config().vocabulary()).toArray();
    }

    private static int[] join(int[] first, int[] second) {
        int[] joined = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, joined, first.length, second.length);
        return joined;
    }

    private void check(LoadedModel model, int[] sequence, float[] found) {
        float[][] all = model.allLogits(List.of(sequence));
        assertArrayEquals(all[all.length - 1], found, sequence.length + " tokens, seed " + seed);
    }

    @Test
    void sequencesThatGrowUnevenlyHaveTheLogitsOfWholeOnes() {
        try (KeyValueCache cache = model.newCache(4, 40)) {
            int[][] sequences = new int[4][0];
            for (int round = 0; round < 40; round++) {
                List<Integer> slots = new ArrayList<>();
                List<int[]> more = new ArrayList<>();
                for (int slot : new int[] {2, 0, 3, 1}) {
                    int count = random.nextInt(4) * random.nextInt(4);
                    if (sequences[slot].length + count > 40) {
                        cache.clear(slot);
                        sequences[slot] = new int[0];
                    }
                    if (count > 0) {
                        slots.add(slot);
                        more.add(tokens(count));
                        sequences[slot] = join(sequences[slot], more.get(more.size() - 1));
                    }
                }
                if (!slots.isEmpty()) {
                    int[] chosen = slots.stream().mapToInt(Integer::intValue).toArray();
                    float[][] logits = model.extend(cache, chosen, more);
                    for (int k = 0; k < chosen.length; k++) {
                        check(model, sequences[chosen[k]], logits[k]);
                        assertEquals(sequences[chosen[k]].length, cache.lengths(chosen[k])[0]);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"stories260k", "tiny-chatglm2/safetensors-fp32"})
    void otherModelsHaveTheLogitsOfWholeSequencesToo(String name) throws Exception {
        try (LoadedModel other = LoadedModel.open(SharedFixtures.require(name), 2, 128);
                KeyValueCache cache = other.newCache(1, 128)) {
            int[] sequence = tokens(100);
            for (int t = 0; t < 100; t += 20) {
                check(
                        other,
                        Arrays.copyOf(sequence, t + 19),
                        other.extend(cache, new int[1], List.of(Arrays.copyOfRange(sequence, t, t + 19)))[0]);
                check(
                        other,
                        Arrays.copyOf(sequence, t + 20),
                        other.extend(cache, new int[1], List.of(new int[] {sequence[t + 19]}))[0]);
            }
        }
    }

    @Test
    void aFullSlotRefusesMoreAndStaysAsItIs() {
        try (KeyValueCache cache = model.newCache(2, 8)) {
            int[] sequence = tokens(8);
            model.extend(cache, new int[] {1}, List.of(Arrays.copyOf(sequence, 7)));
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class,
                    () -> model.extend(cache, new int[] {0, 1}, List.of(tokens(3), tokens(2))));
            assertEquals("slot 1 of the cache has 7 tokens of at most 8, no room for 2 more", e.getMessage());
            assertArrayEquals(new int[] {0, 7}, cache.lengths(0, 1));
            check(model, sequence, model.extend(cache, new int[] {1}, List.of(new int[] {sequence[7]}))[0]);
        }
    }

    @Test
    void impossibleCachesAreRefused() {
        for (int[] bad : new int[][] {{0, 8}, {1, 0}, {1, 65}}) {
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> model.newCache(bad[0], bad[1]));
            assertTrue(e.getMessage().contains("1 to 64"), e.getMessage());
        }
    }

    @Test
    void itsSizeIsThatOfKeysAndValues() {
        // Tiny model: 3 layers of 2 groups of 16 elements, keys and values, four bytes each.
        assertEquals(3 * 2 * 2 * 16 * 4, model.cacheBytesPerToken());
    }
}
