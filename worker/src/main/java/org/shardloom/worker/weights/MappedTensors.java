package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The tensors of one mapped file, whatever its format: a format's own class finds where they lie. */
abstract class MappedTensors implements TensorSource {
    private final MappedFile file;
    private final Map<String, StoredTensor> stored;
    private final Map<String, TensorInfo> infos;

    /**
     * @param file closed with this source
     * @param stored the tensors by their name, in the order that {@link #tensors} keeps
     */
    MappedTensors(MappedFile file, Map<String, StoredTensor> stored) {
        this.file = file;
        this.stored = stored;
        Map<String, TensorInfo> described = new LinkedHashMap<>();
        stored.forEach((name, tensor) -> described.put(name, tensor.info()));
        this.infos = Collections.unmodifiableMap(described);
    }

    @Override
    public final Map<String, TensorInfo> tensors() {
        return infos;
    }

    @Override
    public final void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        stored.get(info(name).name()).read(firstElement, destination);
    }

    @Override
    public final void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        stored.get(info(name).name()).readRaw(firstElement, destination);
    }

    @Override
    public final void close() {
        file.close();
    }

    /** Returns the file's path. */
    @Override
    public final String toString() {
        return file.path().toString();
    }
}
