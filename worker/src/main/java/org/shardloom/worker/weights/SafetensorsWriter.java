package org.shardloom.worker.weights;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Writes a safetensors file whose tensors are declared up front, streaming their data.
 *
 * <pre>{@code
 * try (SafetensorsWriter writer = SafetensorsWriter.create(path, tensors, Map.of("format", "pt"))) {
 *     writer.append("w", firstBytes);
 *     writer.append("w", moreBytes);
 *     writer.finish();
 * }
 * }</pre>
 *
 * <p>Data goes to a hidden temporary file in the same directory. {@link #finish} renames it; closing without it deletes
 * it, so the final name only ever shows a whole file. Memory use does not depend on the size of the tensors. Not
 * thread-safe.
 */
public final class SafetensorsWriter implements Closeable {
    private static final int HEADER_ALIGNMENT = 8;

    private final List<TensorInfo> tensors;
    private final PartialFile file;
    private int current;
    private long currentBytes;
    private boolean sealed;
    private boolean failed;

    private SafetensorsWriter(List<TensorInfo> tensors, PartialFile file) {
        this.tensors = tensors;
        this.file = file;
    }

    /**
     * Writes the header of a new file.
     *
     * @param target the final path, in an existing directory; a file of that name is replaced by {@link #finish}
     * @param tensors what will be written, in this order
     * @param metadata goes into the header as {@code __metadata__}; empty for none
     * @throws IllegalArgumentException if two tensors share a name or one is called {@code __metadata__}
     * @throws WeightsException if the disk has too little space or the header would be too large to be read again
     * @throws IOException if the file cannot be written
     */
    public static SafetensorsWriter create(Path target, List<TensorInfo> tensors, Map<String, String> metadata)
            throws IOException {
        return create(target, tensors, metadata, PartialFile.Disk.REAL);
    }

    static SafetensorsWriter create(
            Path target, List<TensorInfo> tensors, Map<String, String> metadata, PartialFile.Disk disk)
            throws IOException {
        checkNames(tensors);
        byte[] header = header(tensors, metadata);
        if (header.length > SafetensorsFile.MAX_HEADER_BYTES) {
            throw WeightsException.in(
                    target,
                    "expected a header of at most " + SafetensorsFile.MAX_HEADER_BYTES + " bytes, found "
                            + header.length + "; declare fewer tensors");
        }
        long total = Long.BYTES + header.length;
        for (TensorInfo tensor : tensors) {
            total = Math.addExact(total, tensor.byteCount());
        }
        PartialFile file = PartialFile.create(target, total, disk);
        try {
            file.write(ByteBuffer.allocate(Long.BYTES)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(header.length)
                    .flip());
            file.write(ByteBuffer.wrap(header));
        } catch (IOException e) {
            file.close();
            throw e;
        }
        return new SafetensorsWriter(List.copyOf(tensors), file);
    }

    /**
     * Appends some of a tensor's data. Tensors come in their declared order, each in one or more pieces; tensors without
     * elements may be left out.
     *
     * @param name the tensor the bytes belong to
     * @param raw little-endian row-major bytes that follow the earlier ones; consumed up to its limit
     * @throws IllegalStateException if it is another tensor's turn, the tensor gets more bytes than declared, or the
     *     file is finished
     * @throws WeightsException if the disk is full
     * @throws IOException if writing fails; the writer can then only be closed
     */
    public void append(String name, ByteBuffer raw) throws IOException {
        checkOpen();
        while (current < tensors.size()
                && !tensors.get(current).name().equals(name)
                && currentBytes == tensors.get(current).byteCount()) {
            current++;
            currentBytes = 0;
        }
        if (current == tensors.size() || !tensors.get(current).name().equals(name)) {
            throw new IllegalStateException("Got data of tensor " + name + ", expected " + expected());
        }
        long bytes = currentBytes + raw.remaining();
        if (bytes > tensors.get(current).byteCount()) {
            throw new IllegalStateException("Got " + bytes + " bytes of tensor " + name + ", expected "
                    + tensors.get(current).byteCount());
        }
        failed = true;
        file.write(raw);
        failed = false;
        currentBytes = bytes;
    }

    /**
     * Forces the file to disk and gives it its final name.
     *
     * @throws IllegalStateException if a declared tensor is incomplete
     * @throws IOException if writing or renaming fails; the final name then still shows what it showed before
     */
    public void finish() throws IOException {
        seal();
        publish();
    }

    /** First half of {@link #finish}: checks completeness and forces the data to disk. */
    void seal() throws IOException {
        checkOpen();
        while (current < tensors.size() && currentBytes == tensors.get(current).byteCount()) {
            current++;
            currentBytes = 0;
        }
        if (current < tensors.size()) {
            throw new IllegalStateException("The file is not complete: expected " + expected());
        }
        failed = true;
        file.seal();
        failed = false;
        sealed = true;
    }

    /** Second half of {@link #finish}: renames the sealed file. */
    void publish() throws IOException {
        file.publish();
    }

    /** Releases the file; without {@link #finish} before, deletes what was written. */
    @Override
    public void close() throws IOException {
        sealed = true;
        file.close();
    }

    private void checkOpen() {
        if (sealed || failed) {
            throw new IllegalStateException(sealed ? "The file is finished or closed" : "An earlier write failed");
        }
    }

    private String expected() {
        if (current == tensors.size()) {
            return "nothing more";
        }
        TensorInfo tensor = tensors.get(current);
        return (tensor.byteCount() - currentBytes) + " more bytes of tensor " + tensor.name();
    }

    private static void checkNames(List<TensorInfo> tensors) {
        Set<String> names = new HashSet<>();
        names.add(SafetensorsHeader.METADATA_KEY);
        for (TensorInfo tensor : tensors) {
            if (!names.add(tensor.name())) {
                throw new IllegalArgumentException("Tensor name " + tensor.name() + " is reserved or declared twice");
            }
        }
    }

    private static byte[] header(List<TensorInfo> tensors, Map<String, String> metadata) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JsonGenerator json = new JsonFactory().createGenerator(bytes)) {
            json.writeStartObject();
            if (!metadata.isEmpty()) {
                json.writeObjectFieldStart(SafetensorsHeader.METADATA_KEY);
                for (Map.Entry<String, String> entry : metadata.entrySet()) {
                    json.writeStringField(entry.getKey(), entry.getValue());
                }
                json.writeEndObject();
            }
            long begin = 0;
            for (TensorInfo tensor : tensors) {
                long end = Math.addExact(begin, tensor.byteCount());
                json.writeObjectFieldStart(tensor.name());
                json.writeStringField("dtype", tensor.dtype().safetensorsName());
                json.writeFieldName("shape");
                long[] shape =
                        tensor.shape().stream().mapToLong(Long::longValue).toArray();
                json.writeArray(shape, 0, shape.length);
                json.writeFieldName("data_offsets");
                json.writeArray(new long[] {begin, end}, 0, 2);
                json.writeEndObject();
                begin = end;
            }
            json.writeEndObject();
        }
        byte[] header = bytes.toByteArray();
        int padded = (header.length + HEADER_ALIGNMENT - 1) / HEADER_ALIGNMENT * HEADER_ALIGNMENT;
        byte[] result = Arrays.copyOf(header, padded);
        Arrays.fill(result, header.length, padded, (byte) ' ');
        return result;
    }
}
