package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/** Reads the reference batches of the tiny models. */
public final class TinyModel {
    /** What the reference traces were trained with. */
    public static final OptimizerConfig ADAMW =
            new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.95, 1e-8, 0.1, List.of());

    private TinyModel() {}

    /** An int64 tensor. */
    public static long[] longs(TensorSource source, String name) throws IOException {
        int n = (int) source.info(name).elementCount();
        ByteBuffer raw = ByteBuffer.allocate(n * 8).order(ByteOrder.LITTLE_ENDIAN);
        source.readRaw(name, 0, raw);
        long[] values = new long[n];
        raw.flip();
        raw.asLongBuffer().get(values);
        return values;
    }

    public static TensorSource open(Path file) throws IOException {
        return SafetensorsFile.open(file);
    }

    /** The token ids of rows [from, to) of a padded batch, without padding. */
    public static List<int[]> sequences(TensorSource source, String prefix, int from, int to) throws IOException {
        return rows(source, prefix + "input_ids", longs(source, prefix + "lengths"), from, to);
    }

    /** Rows [from, to) of a padded batch, packed. */
    public static PackedBatch batch(TensorSource source, String prefix, int from, int to) throws IOException {
        long[] lengths = longs(source, prefix + "lengths");
        return PackedBatch.of(
                rows(source, prefix + "input_ids", lengths, from, to),
                rows(source, prefix + "labels", lengths, from, to));
    }

    /** Rows [from, to) of an int64 [rows, width] tensor, each cut to its length. */
    public static List<int[]> rows(TensorSource source, String name, long[] lengths, int from, int to)
            throws IOException {
        int width = source.info(name).shape().get(1).intValue();
        long[] values = longs(source, name);
        List<int[]> rows = new ArrayList<>();
        for (int row = from; row < to; row++) {
            rows.add(Arrays.stream(values, row * width, row * width + (int) lengths[row])
                    .mapToInt(v -> (int) v)
                    .toArray());
        }
        return rows;
    }

    /** The reference's rate: three steps of warm-up, then 1e-3. */
    public static double rate(int step) {
        return 1e-3 * Math.min(1, step / 3.0);
    }

    /** The four micro-batches of step {@code step} (from 1) of the accum4 trace; plain's step is all in one. */
    public static List<PackedBatch> microBatches(TensorSource train, int step, int count) throws IOException {
        String prefix = "batch/" + (step - 1) % 5 + "/";
        List<PackedBatch> batches = new ArrayList<>();
        for (int m = 0; m < count; m++) {
            batches.add(batch(train, prefix, m * 16 / count, (m + 1) * 16 / count));
        }
        return batches;
    }
}
