package org.shardloom.deploy.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A directory that only this user may enter and that goes when it is closed, or else when the JVM ends. Thread-safe. */
final class ScratchDirectory implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ScratchDirectory.class);
    private static final String PREFIX = "shardloom-bench-";
    private final Path path;
    private final Runnable before;
    private final Thread hook;

    private ScratchDirectory(Path path, Runnable before) {
        this.path = path;
        this.before = before;
        this.hook = new Thread(this::end, "bench-cleanup");
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /**
     * A new directory.
     *
     * @param before runs once or twice before the directory is deleted, whatever deletes it
     */
    static ScratchDirectory in(Path parent, Runnable before) throws IOException {
        return new ScratchDirectory(
                Files.createTempDirectory(
                        parent,
                        PREFIX,
                        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"))),
                before);
    }

    Path path() {
        return path;
    }

    private synchronized void end() {
        before.run();
        delete(path);
    }

    /** Deletes a directory that was made here, as far as that is possible. */
    static void delete(Path directory) {
        if (!directory.getFileName().toString().startsWith(PREFIX)) {
            throw new IllegalArgumentException(directory + " is no scratch directory");
        }
        // Whoever wrote there a moment ago may have added a file meanwhile.
        for (int attempt = 0; attempt < 3 && Files.exists(directory); attempt++) {
            try (Stream<Path> tree = Files.walk(directory)) {
                List<Path> all = tree.sorted(Comparator.reverseOrder()).toList();
                for (Path entry : all) {
                    Files.deleteIfExists(entry);
                }
            } catch (NoSuchFileException e) {
                LOG.debug("{} went meanwhile", e.getMessage());
            } catch (IOException | java.io.UncheckedIOException e) {
                LOG.warn("cannot delete {}: {}", directory, e.toString());
            }
        }
    }

    @Override
    public void close() {
        end();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            LOG.debug("the JVM is ending");
        }
    }
}
