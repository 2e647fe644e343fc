package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** A source of which another one replaces some tensors: a model's files under what was trained of them. Closes both. */
public final class OverlaidSource implements TensorSource {
    private final TensorSource below;
    private final TensorSource above;
    private final Map<String, TensorInfo> tensors;

    /** Tensors of {@code above} where it has them, of {@code below} otherwise. */
    public OverlaidSource(TensorSource below, TensorSource above) {
        this.below = below;
        this.above = above;
        Map<String, TensorInfo> all = new LinkedHashMap<>(below.tensors());
        all.putAll(above.tensors());
        this.tensors = Collections.unmodifiableMap(all);
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return tensors;
    }

    @Override
    public void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        of(name).read(name, firstElement, destination);
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        of(name).readRaw(name, firstElement, destination);
    }

    private TensorSource of(String name) {
        return above.tensors().containsKey(name) ? above : below;
    }

    @Override
    public void close() throws IOException {
        try {
            below.close();
        } finally {
            above.close();
        }
    }

    @Override
    public String toString() {
        return above + " over " + below;
    }
}
