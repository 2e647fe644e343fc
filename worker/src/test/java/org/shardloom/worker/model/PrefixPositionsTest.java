package org.shardloom.worker.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/** Positions and prefixes against those of the original ChatGLM-6B code. */
class PrefixPositionsTest {
    private static final PrefixPositions.Markers TINY = new PrefixPositions.Markers(501, 500, 504);

    private static int[] longs(TensorSource source, String name) throws Exception {
        long count = source.info(name).elementCount();
        ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(count * 8)).order(ByteOrder.LITTLE_ENDIAN);
        source.readRaw(name, 0, bytes);
        return IntStream.range(0, (int) count)
                .map(i -> Math.toIntExact(bytes.getLong(8 * i)))
                .toArray();
    }

    @Test
    void aPackedBatchHasThePositionsAndTheMaskOfTheReference() throws Exception {
        Path file = shared("fixtures/tiny-chatglm1/reference.safetensors");
        try (TensorSource reference = SafetensorsFile.open(file)) {
            int[] ids = longs(reference, "input_ids");
            int[] lengths = longs(reference, "lengths");
            int[] positions = longs(reference, "position_ids");
            ByteBuffer blocked = ByteBuffer.allocate(
                    (int) reference.info("attention_mask_true_is_blocked").elementCount());
            reference.readRaw("attention_mask_true_is_blocked", 0, blocked);
            int rows = lengths.length;
            int columns = ids.length / rows;
            List<int[]> sequences = IntStream.range(0, rows)
                    .mapToObj(r -> Arrays.copyOfRange(ids, r * columns, r * columns + lengths[r]))
                    .toList();
            PackedBatch batch = PackedBatch.of(sequences, sequences);
            PrefixPositions found = PrefixPositions.of(batch.ids(), batch.starts(), TINY);
            for (int r = 0; r < rows; r++) {
                int at = batch.starts()[r];
                for (int t = 0; t < lengths[r]; t++) {
                    assertEquals(positions[2 * r * columns + t], found.positions()[at + t], r + ", " + t);
                    assertEquals(positions[(2 * r + 1) * columns + t], found.blockPositions()[at + t], r + ", " + t);
                    for (int key = 0; key < lengths[r]; key++) {
                        boolean sees = key <= t || key < found.prefixLengths()[r];
                        assertEquals(blocked.get((r * columns + t) * columns + key) == 0, sees, t + " sees " + key);
                    }
                }
            }
            // The third sequence is there for its [MASK] amidst the context.
            assertTrue(Arrays.stream(sequences.get(2)).noneMatch(id -> id == 501));
        }
    }

    @Test
    void positionsOfTokenizedTextsAreThoseOfTheOriginalTokenizer() {
        JsonNode batch = json(shared("fixtures/tokenizers/chatglm1/batch.json"));
        PrefixPositions.Markers markers = new PrefixPositions.Markers(130001, 130000, 130004);
        for (int i = 0; i < batch.get("texts").size(); i++) {
            int[] row = ints(batch.get("input_ids").get(i));
            int padding = (int) Arrays.stream(row).filter(id -> id == 3).count();
            int[] ids = Arrays.copyOfRange(row, padding, row.length);
            PrefixPositions found = PrefixPositions.of(ids, new int[] {0, ids.length}, markers);
            JsonNode expected = batch.get("position_ids").get(i);
            assertArrayEquals(
                    Arrays.copyOfRange(ints(expected.get(0)), padding, row.length), found.positions(), "text " + i);
            assertArrayEquals(
                    Arrays.copyOfRange(ints(expected.get(1)), padding, row.length),
                    found.blockPositions(),
                    "text " + i);
        }
    }

    @Test
    void theFirstMarkersCountAndMarkersMayStandInTheTarget() {
        int[] ids = {7, 500, 8, 501, 9, 504, 501, 504, 500};
        PrefixPositions found = PrefixPositions.of(ids, new int[] {0, 9}, TINY);
        assertArrayEquals(new int[] {0, 1, 2, 3, 4, 3, 3, 3, 3}, found.positions());
        assertArrayEquals(new int[] {0, 0, 0, 0, 0, 1, 2, 3, 4}, found.blockPositions());
        assertArrayEquals(new int[] {5}, found.prefixLengths());
        found = PrefixPositions.of(new int[] {504, 6, 500}, new int[] {0, 3}, TINY);
        assertArrayEquals(new int[] {2, 2, 2}, found.positions());
        assertArrayEquals(new int[] {0}, found.prefixLengths());
    }

    @Test
    void sequencesWithoutMarkersAreRefused() {
        assertRefused("sequence 1 of the batch has no <sop> (id 504)", 501, 504, 501, 7);
        assertRefused("sequence 1 of the batch has neither [gMASK] (id 501)", 501, 504, 7, 504);
    }

    private static void assertRefused(String message, int... ids) {
        String found = assertThrows(
                        IllegalArgumentException.class,
                        () -> PrefixPositions.of(ids, new int[] {0, 2, ids.length}, TINY))
                .getMessage();
        assertTrue(found.contains(message), found);
    }
}
