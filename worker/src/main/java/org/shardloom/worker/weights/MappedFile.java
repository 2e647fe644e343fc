package org.shardloom.worker.weights;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A read-only file mapped into memory as a row of windows, because one map holds less than 2 GiB.
 *
 * <pre>
 *   file      |----------------------------------------|
 *   window 0  |----------------|+
 *   window 1                   |----------------|+
 *   window 2                                    |------|
 * </pre>
 *
 * <p>Each window reaches {@value #OVERLAP_BYTES} bytes (+) into the next, so that an element that begins in a window
 * also ends in it. Thread-safe: windows are only read by absolute position.
 */
final class MappedFile implements Closeable {
    private static final int DEFAULT_WINDOW_BYTES = 1 << 30;
    private static final int OVERLAP_BYTES = 8;

    private final Path path;
    private final long size;
    private final int windowBytes;
    private final AtomicReference<ByteBuffer[]> windows;

    private MappedFile(Path path, long size, int windowBytes, ByteBuffer[] windows) {
        this.path = path;
        this.size = size;
        this.windowBytes = windowBytes;
        this.windows = new AtomicReference<>(windows);
    }

    static MappedFile open(Path path) throws IOException {
        return open(path, DEFAULT_WINDOW_BYTES);
    }

    static MappedFile open(Path path, int windowBytes) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            long size = channel.size();
            ByteBuffer[] windows = new ByteBuffer[Math.toIntExact((size + windowBytes - 1) / windowBytes)];
            for (int i = 0; i < windows.length; i++) {
                long begin = (long) i * windowBytes;
                long length = Math.min(size - begin, (long) windowBytes + OVERLAP_BYTES);
                windows[i] = channel.map(FileChannel.MapMode.READ_ONLY, begin, length)
                        .order(ByteOrder.LITTLE_ENDIAN);
            }
            return new MappedFile(path, size, windowBytes, windows);
        }
    }

    Path path() {
        return path;
    }

    long size() {
        return size;
    }

    /** Copies bytes from the file to the destination's position and advances it. The range must lie in the file. */
    void copy(long offset, int length, ByteBuffer destination) {
        ByteBuffer[] open = openWindows();
        long from = offset;
        int left = length;
        while (left > 0) {
            int start = (int) (from % windowBytes);
            int piece = Math.min(left, windowBytes - start);
            destination.put(destination.position(), open[(int) (from / windowBytes)], start, piece);
            destination.position(destination.position() + piece);
            from += piece;
            left -= piece;
        }
    }

    /**
     * Copies {@code count} elements of {@code size} bytes (1, 2, 4 or 8) that lie {@code stepBytes} apart.
     *
     * @param destination little-endian; advanced past the elements
     */
    void gather(long offset, long stepBytes, int size, int count, ByteBuffer destination) {
        ByteBuffer[] open = openWindows();
        for (int i = 0; i < count; i++) {
            long from = offset + i * stepBytes;
            ByteBuffer window = open[(int) (from / windowBytes)];
            int at = (int) (from % windowBytes);
            switch (size) {
                case 1 -> destination.put(window.get(at));
                case 2 -> destination.putShort(window.getShort(at));
                case 4 -> destination.putInt(window.getInt(at));
                default -> destination.putLong(window.getLong(at));
            }
        }
    }

    /** Returns a little-endian copy of part of the file. The range must lie in the file. */
    ByteBuffer bytes(long offset, int length) {
        ByteBuffer copy = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        copy(offset, length, copy);
        return copy.flip();
    }

    private ByteBuffer[] openWindows() {
        ByteBuffer[] open = windows.get();
        if (open == null) {
            throw new IllegalStateException(path + " is closed");
        }
        return open;
    }

    @Override
    public void close() {
        windows.set(null);
    }
}
