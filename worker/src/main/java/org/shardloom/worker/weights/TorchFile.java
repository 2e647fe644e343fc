package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;

/**
 * A checkpoint written by {@code torch.save} of PyTorch 1.6 or later.
 *
 * <p>It is a zip archive of uncompressed entries: {@code NAME/data.pkl} describes the object, {@code NAME/data/K} hold
 * the storages, {@code NAME/byteorder} says little or big. Tensors are views of storages with an offset and strides;
 * reads present them as if they were contiguous and little-endian.
 *
 * <p>Names are the keys of nested dicts joined with '/', items of lists by their index: {@code model/w},
 * {@code list/0}. Whatever is not a tensor is skipped. The pickle is interpreted against an allow-list and nothing in it
 * is ever run. The checksum of the pickle is verified, those of the storages are not.
 */
public final class TorchFile extends MappedTensors {
    private static final int MAX_PICKLE_BYTES = 32 << 20;
    /** A view may repeat the elements of its storage (stride 0), but not without bounds. */
    private static final long MAX_REPEATED_ELEMENTS = 1 << 24;

    private static final int ZIP_MAGIC = 0x0403_4b50;
    /** How every pre-1.6 file begins: the pickled number 0x1950a86a20f9469cfc6c. */
    private static final byte[] LEGACY_MAGIC = {
        (byte) 0x80, 0x02, (byte) 0x8a, 0x0a, 0x6c, (byte) 0xfc, (byte) 0x9c, 0x46, (byte) 0xf9, 0x20
    };

    private TorchFile(MappedFile file, Map<String, StoredTensor> stored) {
        super(file, stored);
    }

    /**
     * Maps the file and interprets its description; no tensor data is read.
     *
     * @throws WeightsException if the file is damaged, in the older non-zip format, names anything outside the
     *     allow-list, or has a tensor that reaches beyond its storage
     * @throws IOException if the file cannot be opened
     */
    public static TorchFile open(Path path) throws IOException {
        return open(MappedFile.open(path));
    }

    static TorchFile open(MappedFile file) throws IOException {
        checkMagic(file);
        Map<String, ZipDirectory.Entry> entries = ZipDirectory.read(file).entries();
        String prefix = findPrefix(file.path(), entries);
        ByteOrder order = readByteOrder(file, entries.get(prefix + "byteorder"));
        byte[] pickle = readPickle(file, entries.get(prefix + "data.pkl"));
        Map<String, StoredTensor> stored = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, TorchValues.View> named :
                    TensorTree.flatten(PickleReader.read(pickle)).entrySet()) {
                TorchValues.View view = named.getValue();
                ZipDirectory.Entry data =
                        entries.get(prefix + "data/" + view.storage().key());
                stored.put(named.getKey(), locate(file, named.getKey(), view, data, order));
            }
        } catch (MalformedPickleException e) {
            throw WeightsException.in(file.path(), "data.pkl: " + e.getMessage(), e);
        }
        return new TorchFile(file, stored);
    }

    private static void checkMagic(MappedFile file) throws WeightsException {
        ByteBuffer head = file.bytes(0, (int) Math.min(file.size(), LEGACY_MAGIC.length));
        if (head.equals(ByteBuffer.wrap(LEGACY_MAGIC))) {
            throw WeightsException.in(
                    file.path(),
                    "this is the torch format from before PyTorch 1.6, which is not supported; convert it with: python -c"
                            + " \"import torch; f='" + file.path().getFileName()
                            + "'; torch.save(torch.load(f, map_location='cpu', weights_only=True), f)\"");
        }
        if (head.remaining() < Integer.BYTES || head.getInt(0) != ZIP_MAGIC) {
            throw WeightsException.in(
                    file.path(),
                    "expected a zip archive written by torch.save, found other content; a Git LFS"
                            + " pointer or an incomplete download looks like this");
        }
    }

    private static String findPrefix(Path path, Map<String, ZipDirectory.Entry> entries) throws WeightsException {
        List<String> found = new ArrayList<>();
        for (String name : entries.keySet()) {
            if (name.endsWith("/data.pkl") && name.indexOf('/') == name.length() - "/data.pkl".length()) {
                found.add(name);
            }
        }
        if (found.size() != 1) {
            throw WeightsException.in(
                    path,
                    "expected exactly one entry */data.pkl in the archive, found " + found.size() + " among "
                            + entries.size() + " entries");
        }
        return found.get(0).substring(0, found.get(0).length() - "data.pkl".length());
    }

    private static ByteOrder readByteOrder(MappedFile file, ZipDirectory.Entry entry) throws WeightsException {
        if (entry == null) {
            return ByteOrder.LITTLE_ENDIAN;
        }
        int length = (int) Math.min(entry.size(), 16);
        String order = StandardCharsets.US_ASCII
                .decode(file.bytes(entry.offset(), length))
                .toString();
        return switch (order) {
            case "little" -> ByteOrder.LITTLE_ENDIAN;
            case "big" -> ByteOrder.BIG_ENDIAN;
            default -> throw WeightsException.in(
                    file.path(), "expected byteorder little or big, found " + WeightsException.quote(order));
        };
    }

    private static byte[] readPickle(MappedFile file, ZipDirectory.Entry entry) throws WeightsException {
        if (entry.size() > MAX_PICKLE_BYTES) {
            throw WeightsException.in(
                    file.path(),
                    "expected a data.pkl of at most " + MAX_PICKLE_BYTES + " bytes, found " + entry.size());
        }
        byte[] pickle = file.bytes(entry.offset(), (int) entry.size()).array();
        CRC32 crc = new CRC32();
        crc.update(pickle);
        if ((int) crc.getValue() != entry.crc32()) {
            throw WeightsException.in(file.path(), "data.pkl does not match its checksum; the file is damaged");
        }
        return pickle;
    }

    private static StoredTensor locate(
            MappedFile file, String name, TorchValues.View view, ZipDirectory.Entry data, ByteOrder order)
            throws WeightsException {
        TorchValues.Storage storage = view.storage();
        int byteSize = storage.dtype().byteSize();
        if (data == null) {
            throw WeightsException.in(
                    file.path(),
                    name,
                    "expected an archive entry data/" + WeightsException.quote(storage.key()) + ", found none");
        }
        if (storage.elements() > Long.MAX_VALUE / byteSize || storage.elements() * byteSize != data.size()) {
            throw WeightsException.in(
                    file.path(),
                    name,
                    "expected a storage of " + storage.elements() + " " + storage.dtype() + " elements, found "
                            + data.size() + " bytes");
        }
        TensorInfo info;
        try {
            info = new TensorInfo(name, storage.dtype(), view.shape());
        } catch (IllegalArgumentException e) {
            throw WeightsException.in(file.path(), "tensor " + WeightsException.quote(name) + ": " + e.getMessage(), e);
        }
        checkView(file.path(), info, view);
        long offset = info.elementCount() == 0 ? data.offset() : data.offset() + view.offset() * byteSize;
        return StoredTensor.strided(file, info, offset, view.strides(), order);
    }

    private static void checkView(Path path, TensorInfo info, TorchValues.View view) throws WeightsException {
        if (info.elementCount() == 0) {
            return;
        }
        long elements = view.storage().elements();
        long last = view.offset();
        boolean inside = last >= 0;
        for (int d = 0; inside && d < view.strides().length; d++) {
            long steps = view.shape().get(d) - 1;
            inside = steps == 0 || view.strides()[d] <= (elements - 1) / steps;
            last += inside ? steps * view.strides()[d] : 0;
            inside &= last >= 0 && last < elements;
        }
        if (!inside || last >= elements) {
            throw WeightsException.in(
                    path,
                    info.name(),
                    "expected a view within its storage of " + elements + " elements, found " + describe(view));
        }
        if (info.elementCount() > Math.max(elements, MAX_REPEATED_ELEMENTS)) {
            throw WeightsException.in(
                    path,
                    info.name(),
                    "expected a view that repeats its storage of " + elements + " elements to at most "
                            + MAX_REPEATED_ELEMENTS + ", found " + describe(view));
        }
    }

    private static String describe(TorchValues.View view) {
        return "offset " + view.offset() + ", shape " + view.shape() + ", strides " + Arrays.toString(view.strides());
    }
}
