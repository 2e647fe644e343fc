package org.shardloom.worker.tuning;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/**
 * A model with low-rank adapters merged into it: W + scale * B A (Hu et al., 2021), computed in fp32 as it is read, a row at a time, so that
 * host memory stays bounded. Merged tensors are fp32, the others as they are. Closes both sources.
 */
public final class MergedSource implements TensorSource {
    private final TensorSource base;
    private final TensorSource adapter;
    private final double scale;
    private final Map<String, TensorInfo> tensors;
    /** The factors of the tensor that was read last. */
    private String cached;

    private float[] a;
    private float[] b;

    /**
     * Merges.
     *
     * @param adapter tensors as peft names them: {@code base_model.model.MODULE.lora_A.weight} [rank, in] and {@code lora_B} [out, rank]
     */
    public MergedSource(TensorSource base, TensorSource adapter, double scale) {
        this.base = base;
        this.adapter = adapter;
        this.scale = scale;
        Map<String, TensorInfo> all = new LinkedHashMap<>(base.tensors());
        all.replaceAll((name, info) -> isMerged(name) ? new TensorInfo(name, WeightDtype.F32, info.shape()) : info);
        this.tensors = Collections.unmodifiableMap(all);
    }

    private static String factor(String weight, String which) {
        String module = weight.substring(0, weight.length() - ".weight".length());
        return "base_model.model." + module + "." + which + ".weight";
    }

    private boolean isMerged(String name) {
        return name.endsWith(".weight") && adapter.tensors().containsKey(factor(name, "lora_A"));
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return tensors;
    }

    @Override
    public synchronized void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        int from = destination.position();
        base.read(name, firstElement, destination);
        if (!isMerged(name)) {
            return;
        }
        if (!name.equals(cached)) {
            a = adapter.readAll(factor(name, "lora_A"));
            b = adapter.readAll(factor(name, "lora_B"));
            cached = name;
        }
        int columns = base.info(name).shape().get(1).intValue();
        int rank = a.length / columns;
        double[] sums = new double[columns];
        for (int at = from; at < destination.position(); ) {
            long element = firstElement + at - from;
            int row = (int) (element / columns);
            int first = (int) (element % columns);
            int count = Math.min(columns - first, destination.position() - at);
            Arrays.fill(sums, 0, count, 0);
            for (int r = 0; r < rank; r++) {
                double factor = scale * b[row * rank + r];
                for (int i = 0; i < count; i++) {
                    sums[i] += factor * a[r * columns + first + i];
                }
            }
            for (int i = 0; i < count; i++) {
                destination.put(at + i, (float) (destination.get(at + i) + sums[i]));
            }
            at += count;
        }
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        if (isMerged(name)) {
            throw new UnsupportedOperationException(name + " is merged as it is read; read it as floats");
        }
        base.readRaw(name, firstElement, destination);
    }

    @Override
    public void close() throws IOException {
        try {
            base.close();
        } finally {
            adapter.close();
        }
    }

    @Override
    public String toString() {
        return base + " with " + adapter;
    }
}
