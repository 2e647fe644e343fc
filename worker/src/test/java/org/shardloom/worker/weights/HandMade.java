package org.shardloom.worker.weights;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32;

/** Builds small files byte by byte, so that tests can make them wrong on purpose. */
final class HandMade {
    private HandMade() {}

    /** A safetensors file with the given header text and so many bytes 0, 1, 2, ... of data. */
    static Path safetensors(Path path, String header, int dataBytes) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(json.length).put(json);
        for (int i = 0; i < dataBytes; i++) {
            bytes.put((byte) i);
        }
        return Files.write(path, bytes.array());
    }

    /** A torch archive around a pickle, with storages by their keys. */
    static Path torch(Path path, byte[] pickle, Map<String, byte[]> storages, String byteOrder, boolean zip64)
            throws IOException {
        Map<String, byte[]> entries = new LinkedHashMap<>();
        entries.put("archive/data.pkl", pickle);
        if (byteOrder != null) {
            entries.put("archive/byteorder", byteOrder.getBytes(StandardCharsets.US_ASCII));
        }
        storages.forEach((key, data) -> entries.put("archive/data/" + key, data));
        return Files.write(path, zip(entries, zip64));
    }

    static byte[] zip(Map<String, byte[]> entries, boolean zip64) {
        ByteBuffer out = ByteBuffer.allocate(1 << 21).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer central = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
        entries.forEach((name, data) -> {
            byte[] nameBytes = name.getBytes(StandardCharsets.UTF_8);
            CRC32 crc = new CRC32();
            crc.update(data);
            int size = zip64 ? -1 : data.length;
            int offset = out.position();
            out.putInt(0x04034b50).putShort((short) 45).putLong(0).putInt((int) crc.getValue());
            out.putInt(size).putInt(size).putShort((short) nameBytes.length).putShort((short) (zip64 ? 20 : 0));
            out.put(nameBytes);
            if (zip64) {
                out.putShort((short) 1)
                        .putShort((short) 16)
                        .putLong(data.length)
                        .putLong(data.length);
            }
            out.put(data);
            central.putInt(0x02014b50).putShort((short) 45).putShort((short) 45).putLong(0);
            central.putInt((int) crc.getValue()).putInt(size).putInt(size);
            central.putShort((short) nameBytes.length).putShort((short) (zip64 ? 28 : 0));
            central.putShort((short) 0)
                    .putInt(0)
                    .putInt(0)
                    .putInt(zip64 ? -1 : offset)
                    .put(nameBytes);
            if (zip64) {
                central.putShort((short) 1).putShort((short) 24);
                central.putLong(data.length).putLong(data.length).putLong(offset);
            }
        });
        int begin = out.position();
        out.put(central.flip());
        int size = out.position() - begin;
        if (zip64) {
            int end64 = out.position();
            out.putInt(0x06064b50).putLong(44).putInt(0).putInt(0).putInt(0);
            out.putLong(entries.size()).putLong(entries.size()).putLong(size).putLong(begin);
            out.putInt(0x07064b50).putInt(0).putLong(end64).putInt(1);
        }
        short count = (short) (zip64 ? -1 : entries.size());
        out.putInt(0x06054b50).putInt(0).putShort(count).putShort(count);
        out.putInt(zip64 ? -1 : size).putInt(zip64 ? -1 : begin).putShort((short) 0);
        byte[] result = new byte[out.position()];
        out.flip().get(result);
        return result;
    }

    /** Collects pickle instructions. */
    static final class Pickle {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Pickle() {
            ops(0x80, 2);
        }

        Pickle ops(int... opcodes) {
            for (int opcode : opcodes) {
                bytes.write(opcode);
            }
            return this;
        }

        Pickle op(char opcode) {
            return ops(opcode);
        }

        Pickle text(String text) {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            bytes.write('X');
            bytes.writeBytes(ByteBuffer.allocate(4)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putInt(utf8.length)
                    .array());
            bytes.writeBytes(utf8);
            return this;
        }

        Pickle global(String module, String name) {
            bytes.writeBytes(("c" + module + "\n" + name + "\n").getBytes(StandardCharsets.UTF_8));
            return this;
        }

        Pickle number(long value) {
            bytes.write(0x8a);
            bytes.write(8);
            bytes.writeBytes(ByteBuffer.allocate(8)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(value)
                    .array());
            return this;
        }

        Pickle numbers(long... values) {
            op('(');
            for (long value : values) {
                number(value);
            }
            return op('t');
        }

        /** Pushes a tensor: a view of {@code data/key}. */
        Pickle tensor(String storageType, String key, long elements, long offset, long[] shape, long[] strides) {
            global("torch._utils", "_rebuild_tensor_v2").op('(').op('(').text("storage");
            global("torch", storageType)
                    .text(key)
                    .text("cpu")
                    .number(elements)
                    .op('t')
                    .op('Q');
            number(offset).numbers(shape).numbers(strides).ops(0x89);
            return global("collections", "OrderedDict").op(')').op('R').op('t').op('R');
        }

        byte[] stop() {
            op('.');
            return bytes.toByteArray();
        }
    }
}
