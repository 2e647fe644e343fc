package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Map;

/** One fp32 tensor in memory. */
public final class ArraySource implements TensorSource {
    private final TensorInfo info;
    private final float[] values;

    /** The values in row-major order; the array is not copied. */
    public ArraySource(String name, float[] values, long... shape) {
        this.info = TensorInfo.of(name, WeightDtype.F32, shape);
        this.values = values;
        if (info.elementCount() != values.length) {
            throw new IllegalArgumentException(values.length + " values for " + info);
        }
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return Map.of(info.name(), info);
    }

    @Override
    public void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        info(name);
        destination.put(values, Math.toIntExact(firstElement), destination.remaining());
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        info(name);
        int count = destination.remaining() / 4;
        destination.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values, (int) firstElement, count);
        destination.position(destination.limit());
    }

    @Override
    public void close() {}

    @Override
    public String toString() {
        return info.name();
    }
}
