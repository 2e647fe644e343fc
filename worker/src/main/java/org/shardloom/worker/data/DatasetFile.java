package org.shardloom.worker.data;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * A data set as a file, big-endian:
 *
 * <pre>
 * 8 bytes   "SHRDTOK1"
 * 32 bytes  key
 * 9 longs   the summary, in the order of its components
 * int       samples n
 * int       tokens t
 * n+1 ints  offsets
 * n ints    1 if truncated, else 0
 * t ints    ids
 * t ints    labels
 * long      CRC-32C of all before
 * </pre>
 */
final class DatasetFile {
    private static final long MAGIC = 0x53485244544F4B31L;
    private static final int HEADER_BYTES = 8 + 32 + 9 * 8 + 2 * 4;
    private static final int CHUNK_INTS = 1 << 14;

    private final FileChannel channel;
    private final CRC32C checksum = new CRC32C();
    private final ByteBuffer chunk = ByteBuffer.allocate(CHUNK_INTS * Integer.BYTES);

    private DatasetFile(FileChannel channel) {
        this.channel = channel;
    }

    /** Writes and forces to disk. */
    static void write(Path path, byte[] key, Dataset dataset) throws IOException {
        try (FileChannel channel = FileChannel.open(
                path, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING)) {
            DatasetFile file = new DatasetFile(channel);
            DatasetSummary s = dataset.summary();
            file.chunk.putLong(MAGIC).put(key);
            for (long value : new long[] {
                s.samples(),
                s.tokens(),
                s.targetTokens(),
                s.cut(),
                s.skippedTooLong(),
                s.skippedWithoutTarget(),
                s.longest(),
                s.sourceTokens(),
                s.longestSource()
            }) {
                file.chunk.putLong(value);
            }
            file.chunk.putInt(dataset.size()).putInt(dataset.ids().length);
            file.flush();
            file.writeInts(dataset.offsets());
            int[] flags = new int[dataset.size()];
            for (int i = 0; i < flags.length; i++) {
                flags[i] = dataset.truncated()[i] ? 1 : 0;
            }
            file.writeInts(flags);
            file.writeInts(dataset.ids());
            file.writeInts(dataset.labels());
            long crc = file.checksum.getValue();
            file.chunk.putLong(crc);
            file.flush();
            channel.force(true);
        }
    }

    /**
     * Reads back.
     *
     * @throws IOException if the file is not whole, was changed or has another key; the message says which
     */
    static Dataset read(Path path, byte[] key) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            DatasetFile file = new DatasetFile(channel);
            ByteBuffer header = file.fill(HEADER_BYTES);
            if (header.getLong() != MAGIC) {
                throw new IOException("it is no data cache");
            }
            byte[] found = new byte[key.length];
            header.get(found);
            if (!Arrays.equals(found, key)) {
                throw new IOException("it has another key");
            }
            DatasetSummary summary = new DatasetSummary(
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong(),
                    header.getLong());
            int samples = header.getInt();
            int tokens = header.getInt();
            long expected = HEADER_BYTES + 4 * (2L * samples + 1 + 2L * tokens) + 8;
            if (samples < 1 || tokens < 1 || channel.size() != expected) {
                throw new IOException("it is not whole");
            }
            int[] offsets = file.readInts(samples + 1);
            int[] flags = file.readInts(samples);
            int[] ids = file.readInts(tokens);
            int[] labels = file.readInts(tokens);
            long crc = file.checksum.getValue();
            if (file.fill(8).getLong() != crc) {
                throw new IOException("its checksum is wrong");
            }
            boolean[] truncated = new boolean[samples];
            for (int i = 0; i < samples; i++) {
                truncated[i] = flags[i] == 1;
            }
            return new Dataset(offsets, ids, labels, truncated, summary);
        }
    }

    private void writeInts(int[] values) throws IOException {
        for (int from = 0, count; from < values.length; from += count) {
            count = Math.min(CHUNK_INTS, values.length - from);
            chunk.asIntBuffer().put(values, from, count);
            chunk.position(count * Integer.BYTES);
            flush();
        }
    }

    private int[] readInts(int length) throws IOException {
        int[] values = new int[length];
        for (int from = 0, count; from < length; from += count) {
            count = Math.min(CHUNK_INTS, length - from);
            fill(count * Integer.BYTES).asIntBuffer().get(values, from, count);
        }
        return values;
    }

    private void flush() throws IOException {
        chunk.flip();
        checksum.update(chunk.duplicate());
        while (chunk.hasRemaining()) {
            channel.write(chunk);
        }
        chunk.clear();
    }

    private ByteBuffer fill(int bytes) throws IOException {
        chunk.clear().limit(bytes);
        while (chunk.hasRemaining()) {
            if (channel.read(chunk) < 0) {
                throw new EOFException("it is not whole");
            }
        }
        chunk.flip();
        checksum.update(chunk.duplicate());
        return chunk;
    }
}
