package org.shardloom.worker.data;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HexFormat;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A directory of data sets, each in a file of its own named by its key. A damaged file is built anew. */
final class DatasetCache {
    /** Part of every key; raised when the layout of {@link DatasetFile} or the rules of building change. */
    static final int FORMAT_VERSION = 3;

    private static final Logger LOG = LoggerFactory.getLogger(DatasetCache.class);
    private static final int NAME_BYTES = 16;

    private final Path directory;

    DatasetCache(Path directory) {
        this.directory = directory;
    }

    /**
     * The data set of that key, from the cache or built and put there. Trouble with the cache is a warning, never an
     * error.
     */
    Dataset get(byte[] key, Supplier<Dataset> build) {
        Path file = directory.resolve(HexFormat.of().formatHex(key, 0, NAME_BYTES) + ".tokens");
        Dataset found = read(file, key);
        if (found != null) {
            return found;
        }
        // A file lock keeps other processes out, the monitor other threads of this one.
        synchronized (DatasetCache.class) {
            try (FileChannel channel = openLock();
                    FileLock lock = channel == null ? null : channel.lock()) {
                LOG.debug("cache lock {}", lock);
                found = read(file, key);
                return found != null ? found : buildAndWrite(file, key, build);
            } catch (IOException e) {
                LOG.warn("data cache {} can't be locked ({}); going on without", directory, e.toString());
            }
        }
        return build.get();
    }

    private FileChannel openLock() {
        try {
            Files.createDirectories(directory);
            return FileChannel.open(directory.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        } catch (IOException e) {
            LOG.warn("data cache {} can't be written ({}); going on without", directory, e.toString());
            return null;
        }
    }

    private Dataset read(Path file, byte[] key) {
        if (!Files.exists(file)) {
            return null;
        }
        try {
            Dataset dataset = DatasetFile.read(file, key);
            LOG.info("data cache {}: {}", file, dataset.summary().describe());
            return dataset;
        } catch (IOException e) {
            LOG.warn("data cache {} is damaged ({}); building it anew", file, e.getMessage());
            return null;
        }
    }

    private Dataset buildAndWrite(Path file, byte[] key, Supplier<Dataset> build) {
        Dataset dataset = build.get();
        Path temporary = null;
        try {
            temporary = Files.createTempFile(directory, "building-", ".tmp");
            DatasetFile.write(temporary, key, dataset);
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            LOG.warn("data cache {} can't be written ({}); going on without", file, e.toString());
            deleteQuietly(temporary);
        }
        return dataset;
    }

    private static void deleteQuietly(Path file) {
        try {
            if (file != null) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            LOG.debug("can't delete {}", file, e);
        }
    }
}
