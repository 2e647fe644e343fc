package org.shardloom.worker.weights;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.UUID;

/**
 * A file that is written under a temporary name beside its final one and renamed only when it is complete.
 *
 * <p>{@link #write}, then {@link #seal} (to disk), then {@link #publish} (rename). {@link #close} before {@link #publish}
 * deletes what was written. Not thread-safe.
 */
final class PartialFile implements Closeable {
    private final Path target;
    private final Path temporary;
    private final Disk disk;
    private final FileChannel channel;
    private final long expectedBytes;
    private long written;
    private boolean published;

    /** What a test replaces to simulate a full disk. */
    interface Disk {
        /** The real file system. */
        Disk REAL = new Disk() {};

        /** Returns the bytes that can still be written in a directory. */
        default long usableBytes(Path directory) throws IOException {
            return Files.getFileStore(directory).getUsableSpace();
        }

        /** Writes some of the bytes at the channel's position. */
        default void write(FileChannel channel, ByteBuffer bytes) throws IOException {
            channel.write(bytes);
        }
    }

    private PartialFile(Path target, Path temporary, Disk disk, FileChannel channel, long expectedBytes) {
        this.target = target;
        this.temporary = temporary;
        this.disk = disk;
        this.channel = channel;
        this.expectedBytes = expectedBytes;
    }

    /** Starts a file of a size known beforehand; refused where the disk has less space than that. */
    static PartialFile create(Path target, long expectedBytes, Disk disk) throws IOException {
        Path path = target.toAbsolutePath();
        checkSpace(path.getParent(), expectedBytes, disk);
        String unique = UUID.randomUUID().toString().substring(0, 8);
        Path temporary = path.resolveSibling("." + path.getFileName() + "." + unique + ".partial");
        FileChannel channel = FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        return new PartialFile(path, temporary, disk, channel, expectedBytes);
    }

    /** Refuses to start writing more than a directory's disk can take. */
    static void checkSpace(Path directory, long neededBytes, Disk disk) throws IOException {
        long usable = disk.usableBytes(directory);
        if (usable < neededBytes) {
            throw new WeightsException(noSpace(directory, neededBytes, usable));
        }
    }

    void write(ByteBuffer bytes) throws IOException {
        try {
            while (bytes.hasRemaining()) {
                int before = bytes.remaining();
                disk.write(channel, bytes);
                written += before - bytes.remaining();
            }
        } catch (IOException e) {
            throw explain(e);
        }
    }

    /** Forces the content to disk. Nothing may be written after this. */
    void seal() throws IOException {
        try {
            channel.force(true);
            channel.close();
        } catch (IOException e) {
            throw explain(e);
        }
    }

    /** Gives the sealed file its final name, replacing a file of that name, and forces the directory to disk. */
    void publish() throws IOException {
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        published = true;
        try (FileChannel directory = FileChannel.open(target.getParent(), StandardOpenOption.READ)) {
            directory.force(true);
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
        if (!published) {
            Files.deleteIfExists(temporary);
        }
    }

    private IOException explain(IOException e) throws IOException {
        String message = String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT);
        boolean full = message.contains("no space left")
                || message.contains("not enough space")
                || message.contains("quota exceeded");
        if (!full) {
            return e;
        }
        return new WeightsException(noSpace(target, expectedBytes - written, disk.usableBytes(target.getParent())), e);
    }

    private static String noSpace(Path path, long neededBytes, long usableBytes) {
        return path + ": no space left on the disk: " + neededBytes + " bytes more are needed, " + usableBytes
                + " are free (a quota may allow less); free some or choose another directory";
    }
}
