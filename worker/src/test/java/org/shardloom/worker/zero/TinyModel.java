package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/** Reads the reference batches of the tiny models. */
final class TinyModel {
    private TinyModel() {}

    static long[] longs(TensorSource source, String name) throws IOException {
        int n = (int) source.info(name).elementCount();
        ByteBuffer raw = ByteBuffer.allocate(n * 8).order(ByteOrder.LITTLE_ENDIAN);
        source.readRaw(name, 0, raw);
        long[] values = new long[n];
        raw.flip();
        raw.asLongBuffer().get(values);
        return values;
    }

    static TensorSource open(Path file) throws IOException {
        return SafetensorsFile.open(file);
    }

    /** Rows [from, to) of a padded batch, packed. */
    static PackedBatch batch(TensorSource source, String prefix, int from, int to) throws IOException {
        int width = source.info(prefix + "input_ids").shape().get(1).intValue();
        long[] ids = longs(source, prefix + "input_ids");
        long[] labels = longs(source, prefix + "labels");
        long[] lengths = longs(source, prefix + "lengths");
        List<int[]> sequences = new ArrayList<>();
        List<int[]> targets = new ArrayList<>();
        for (int row = from; row < to; row++) {
            int length = (int) lengths[row];
            sequences.add(ints(ids, row * width, length));
            targets.add(ints(labels, row * width, length));
        }
        return PackedBatch.of(sequences, targets);
    }

    private static int[] ints(long[] values, int from, int count) {
        return Arrays.stream(values, from, from + count).mapToInt(v -> (int) v).toArray();
    }
}
