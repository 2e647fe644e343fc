package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A safetensors file.
 *
 * <pre>
 *   0        8             8+n
 *   | n: u64 | JSON header | tensor data, little-endian, row-major |
 *   {"__metadata__": {"k": "v"}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
 * </pre>
 *
 * <p>Parsing is strict: n lies within the file and within {@value #MAX_HEADER_BYTES} bytes, no JSON key occurs twice,
 * every tensor's byte range has exactly the size its dtype and shape need, and the ranges together cover the data with
 * neither overlap nor hole. Offsets count from the end of the header. {@link #tensors} keeps the header's order.
 */
public final class SafetensorsFile extends MappedTensors {
    static final int MAX_HEADER_BYTES = 100_000_000;
    private static final int LENGTH_BYTES = 8;

    private final Map<String, String> metadata;

    private SafetensorsFile(MappedFile file, Map<String, StoredTensor> stored, Map<String, String> metadata) {
        super(file, stored);
        this.metadata = Collections.unmodifiableMap(metadata);
    }

    /**
     * Maps the file and checks its header; no tensor data is read.
     *
     * @throws WeightsException if the file breaks a rule of the format or holds an unsupported dtype
     * @throws IOException if the file cannot be opened
     */
    public static SafetensorsFile open(Path path) throws IOException {
        return open(MappedFile.open(path));
    }

    static SafetensorsFile open(MappedFile file) throws IOException {
        Path path = file.path();
        if (file.size() < LENGTH_BYTES) {
            throw WeightsException.in(
                    path, "expected a safetensors file of at least 8 bytes, found " + file.size() + " bytes");
        }
        long headerBytes = file.bytes(0, LENGTH_BYTES).getLong();
        long most = Math.min(file.size() - LENGTH_BYTES, MAX_HEADER_BYTES);
        if (headerBytes < 2 || headerBytes > most) {
            throw WeightsException.in(
                    path,
                    "expected a safetensors header of 2 to " + most + " bytes (file size " + file.size()
                            + "), found length " + Long.toUnsignedString(headerBytes)
                            + "; the file is truncated or not in this format");
        }
        byte[] json = file.bytes(LENGTH_BYTES, (int) headerBytes).array();
        SafetensorsHeader header = SafetensorsHeader.parse(path, json);
        long dataBegin = LENGTH_BYTES + headerBytes;
        checkCoverage(path, header.entries(), file.size() - dataBegin);
        Map<String, StoredTensor> stored = new LinkedHashMap<>();
        for (SafetensorsHeader.Entry entry : header.entries()) {
            TensorInfo info = entry.info();
            stored.put(info.name(), StoredTensor.contiguous(file, info, dataBegin + entry.begin()));
        }
        return new SafetensorsFile(file, stored, header.metadata());
    }

    private static void checkCoverage(Path path, List<SafetensorsHeader.Entry> entries, long dataBytes)
            throws WeightsException {
        List<SafetensorsHeader.Entry> sorted = new ArrayList<>(entries);
        sorted.sort(Comparator.comparingLong(SafetensorsHeader.Entry::begin)
                .thenComparingLong(SafetensorsHeader.Entry::end));
        long covered = 0;
        for (SafetensorsHeader.Entry entry : sorted) {
            String range = "[" + entry.begin() + ", " + entry.end() + ")";
            if (entry.end() > dataBytes) {
                throw WeightsException.in(
                        path,
                        entry.info().name(),
                        "expected data within the " + dataBytes + " bytes after the header, found bytes " + range
                                + "; the file is truncated or its offsets are wrong");
            }
            if (entry.begin() != covered) {
                String kind = entry.begin() < covered ? "overlap" : "hole";
                throw WeightsException.in(
                        path,
                        entry.info().name(),
                        "expected data to begin at byte " + covered + ", found bytes " + range + ", which leaves an "
                                + kind);
            }
            covered = entry.end();
        }
        if (covered != dataBytes) {
            throw WeightsException.in(
                    path, "expected " + covered + " bytes of tensor data as the header declares, found " + dataBytes);
        }
    }

    /** Returns the {@code __metadata__} of the header, unmodifiable; empty where there is none. */
    public Map<String, String> metadata() {
        return metadata;
    }
}
