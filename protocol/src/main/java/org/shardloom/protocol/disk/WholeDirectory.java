package org.shardloom.protocol.disk;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A directory that is whole or absent under its name, wherever the writer is killed. Names beside it:
 *
 * <pre>
 *   NAME.writing          not finished: worth nothing
 *   NAME.replaced         the old one, whole, while the new one takes its name
 *   NAME.removed.writing  being removed: worth nothing
 * </pre>
 *
 * <p>A file system cannot exchange two directories through Java, so there is an instant in which the old one has lost the name and the
 * new one does not have it. Who is killed there leaves NAME.replaced without NAME, and {@link #heal} gives the name back.
 *
 * <p>One writer at a time; that is for the caller to see to.
 */
public final class WholeDirectory {
    /** How the names of directories end that are worth nothing. */
    public static final String UNFINISHED = ".writing";

    /** How the names of directories end that lose their name to another. */
    public static final String REPLACED = ".replaced";

    private static final String REMOVED = ".removed" + UNFINISHED;
    private static final Logger LOG = LoggerFactory.getLogger(WholeDirectory.class);

    private WholeDirectory() {}

    /** Where the directory is written before it has its name. */
    public static Path temporary(Path target) {
        return beside(target, UNFINISHED);
    }

    /** Clears away what an earlier attempt left; returns {@link #temporary}, which does not exist then. */
    public static Path clear(Path target) throws IOException {
        heal(target);
        Path temporary = temporary(target);
        delete(temporary);
        return temporary;
    }

    /** Fills a directory. */
    @FunctionalInterface
    public interface Writer {
        /** Writes the files. */
        void write(Path directory) throws IOException;
    }

    /**
     * Writes a directory and publishes it; what is there of it after a failure is removed.
     *
     * @param bytes that it will need
     * @param what it is, for people
     * @throws NoSpaceException when the disk cannot hold it, found before anything is written unless someone else takes the space
     */
    public static void write(Path target, long bytes, String what, Writer writer) throws IOException {
        Path temporary = clear(target);
        try {
            Files.createDirectories(temporary);
            DiskSpace.require(temporary, bytes, what, target);
            writer.write(temporary);
            publish(target);
        } catch (IOException e) {
            discard(temporary, e);
            throw DiskSpace.explained(e);
        } catch (RuntimeException | Error e) {
            discard(temporary, e);
            throw e;
        }
    }

    private static void discard(Path temporary, Throwable failure) {
        try {
            delete(temporary);
        } catch (IOException e) {
            failure.addSuppressed(e);
        }
    }

    /**
     * Forces what is in {@link #temporary} to the disk and gives it its name; one that has the name already is replaced.
     *
     * @throws IOException when it could not; the name then still stands for what it stood for before
     */
    public static void publish(Path target) throws IOException {
        Path temporary = temporary(target);
        sync(temporary);
        Path replaced = beside(target, REPLACED);
        boolean replaces = Files.exists(target);
        if (replaces) {
            remove(replaced);
            rename(target, replaced);
        }
        try {
            rename(temporary, target);
        } catch (IOException e) {
            if (replaces) {
                rename(replaced, target);
            }
            throw e;
        }
        syncOne(target.toAbsolutePath().getParent());
        try {
            remove(replaced);
        } catch (IOException e) {
            LOG.warn("cannot remove {}: {}", replaced, e.toString());
        }
    }

    /** Takes the name away first, so that a half removed directory is never taken for a whole one. */
    public static void remove(Path target) throws IOException {
        Path removed = beside(target, REMOVED);
        delete(removed);
        if (Files.exists(target)) {
            rename(target, removed);
            delete(removed);
        }
    }

    /** Gives the name back to a directory that lost it to one that never came, and removes one whose successor is there. */
    public static void heal(Path target) throws IOException {
        Path replaced = beside(target, REPLACED);
        if (Files.exists(replaced)) {
            if (Files.exists(target)) {
                remove(replaced);
            } else {
                rename(replaced, target);
            }
        }
    }

    /** Removes a file or a directory with all that is in it, if it is there; follows no links. */
    public static void delete(Path tree) throws IOException {
        try {
            Files.walkFileTree(tree, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.deleteIfExists(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
                    Files.deleteIfExists(directory);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (NoSuchFileException e) {
            // Nothing to remove.
        }
    }

    private static void sync(Path tree) throws IOException {
        Files.walkFileTree(tree, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                if (attributes.isRegularFile()) {
                    syncOne(file);
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
                syncOne(directory);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static void syncOne(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private static void rename(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    }

    private static Path beside(Path target, String suffix) {
        return target.resolveSibling(target.getFileName() + suffix);
    }
}
