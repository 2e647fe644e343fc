package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class DataOrderTest {
    private static int[] sorted(int[] values) {
        int[] copy = values.clone();
        Arrays.sort(copy);
        return copy;
    }

    @Test
    void everyEpochIsAPermutation() {
        for (int samples : new int[] {1, 2, 3, 17, 1000}) {
            DataOrder order = new DataOrder(1234, samples, true);
            for (long epoch : new long[] {0, 1, 2, 1L << 40}) {
                assertArrayEquals(IntStream.range(0, samples).toArray(), sorted(order.permutation(epoch)));
            }
        }
    }

    @Test
    void epochsAndSeedsDiffer() {
        DataOrder order = new DataOrder(1234, 100, true);
        assertFalse(Arrays.equals(order.permutation(0), order.permutation(1)));
        assertFalse(Arrays.equals(order.permutation(0), new DataOrder(1235, 100, true).permutation(0)));
        // A seed's second epoch is not its neighbour's first.
        assertFalse(Arrays.equals(order.permutation(1), new DataOrder(1235, 100, true).permutation(0)));
    }

    @Test
    void positionsRunOnOverEpochsInWhateverOrderTheyAreAsked() {
        DataOrder forward = new DataOrder(7, 10, true);
        DataOrder backward = new DataOrder(7, 10, true);
        int[] seen = IntStream.range(0, 45).map(forward::sampleAt).toArray();
        for (int position = 44; position >= 0; position--) {
            assertEquals(seen[position], backward.sampleAt(position));
            assertEquals(position / 10, backward.epochOf(position));
            assertEquals(seen[position], forward.permutation(position / 10)[position % 10]);
        }
        assertEquals(seen[3], forward.sampleAt(3));
    }

    @Test
    void withoutShufflingTheOrderIsTheFilesOwn() {
        DataOrder order = new DataOrder(7, 4, false);
        assertArrayEquals(
                new int[] {0, 1, 2, 3, 0, 1, 2},
                IntStream.range(0, 7).map(order::sampleAt).toArray());
        assertEquals(1, order.sampleAt(4L * (1L << 40) + 1));
    }

    /** Checkpoints resume by position alone, so this order may never change. */
    @Test
    void orderIsTheSameForEver() {
        assertArrayEquals(new int[] {9, 3, 4, 0, 2, 6, 1, 8, 7, 5}, new DataOrder(1234, 10, true).permutation(0));
        assertArrayEquals(new int[] {3, 2, 9, 4, 1, 8, 6, 0, 7, 5}, new DataOrder(1234, 10, true).permutation(3));
    }

    @Test
    void firstPlacesAreUniform() {
        int[] counts = new int[10];
        DataOrder order = new DataOrder(99, 10, true);
        for (int epoch = 0; epoch < 10_000; epoch++) {
            counts[order.permutation(epoch)[0]]++;
        }
        for (int count : counts) {
            assertTrue(count > 850 && count < 1150, Arrays.toString(counts));
        }
    }

    @Test
    void impossibleArgumentsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> new DataOrder(1, 0, true));
        assertThrows(IllegalArgumentException.class, () -> new DataOrder(1, 5, true).sampleAt(-1));
    }
}
