package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class MicroBatchTest {
    private static final int NO = Sample.IGNORED;

    @Test
    void padsOnTheRightToTheLongest() {
        Sample a = new Sample(new int[] {1, 2, 3}, new int[] {NO, 2, 3}, false);
        Sample b = new Sample(new int[] {4}, new int[] {4}, false);
        MicroBatch batch = MicroBatch.of(List.of(b, a), 9);
        assertEquals(2, batch.rows());
        assertEquals(3, batch.columns());
        assertArrayEquals(new int[] {4, 9, 9, 1, 2, 3}, batch.inputIds());
        assertArrayEquals(new int[] {4, NO, NO, NO, 2, 3}, batch.labels());
        assertArrayEquals(new int[] {1, 3}, batch.lengths());
        assertEquals(2, batch.targetTokens());
    }

    @Test
    void firstLabelOfARowIsNeverATarget() {
        Sample sample = new Sample(new int[] {1, 2}, new int[] {1, 2}, false);
        assertEquals(1, sample.targetTokens());
        assertEquals(0, sample.sourceTokens());
        assertEquals(2, MicroBatch.of(List.of(sample, sample), 0).targetTokens());
    }

    @Test
    void emptyBatchesAndUnequalLengthsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> MicroBatch.of(List.of(), 0));
        assertThrows(IllegalArgumentException.class, () -> new Sample(new int[2], new int[1], false));
    }
}
