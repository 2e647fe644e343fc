package org.shardloom.kernels.collective.aeron;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.agrona.IoUtil;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where one media driver keeps its files: a directory that only this user may enter, named after the process, with the driver's
 * own directory in it. It goes when it is closed, or else when the JVM ends, or else, after a crash, when
 * somebody sweeps the parent: the next driver, or who started the process.
 */
final class DriverDirectory implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(DriverDirectory.class);
    private static final String PREFIX = "shardloom-aeron-";
    /** Its name until it is locked. */
    private static final String MAKING = "shardloom-making-aeron-";

    private static final Pattern NAME = Pattern.compile("shardloom-(?:making-)?aeron-(\\d+)-\\d+");
    /** Locked by the process as long as it lives. */
    private static final String OWNED = "owned";
    /** Its process had no time to lock it. */
    private static final long UNOWNED_MS = 60_000;

    private final Path path;
    private final FileChannel owned;
    private final Thread hook;

    private DriverDirectory(Path path, FileChannel owned) {
        this.path = path;
        this.owned = owned;
        this.hook = new Thread(this::delete, "aeron-directory-cleanup");
        Runtime.getRuntime().addShutdownHook(hook);
    }

    static DriverDirectory create(Path parent) {
        sweep(parent);
        try {
            Path making = Files.createTempDirectory(
                    parent,
                    MAKING + ProcessHandle.current().pid() + "-",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            FileChannel owned =
                    FileChannel.open(making.resolve(OWNED), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            owned.lock(); // until the channel is closed or the process ends
            String name = making.getFileName().toString().replaceFirst(MAKING, PREFIX);
            return new DriverDirectory(Files.move(making, making.resolveSibling(name)), owned);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot create a directory for Aeron under " + parent, e);
        }
    }

    /** Deletes what drivers of processes that are no more left under the parent. */
    static void sweep(Path parent) {
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(parent, "shardloom-*aeron-*")) {
            for (Path entry : entries) {
                Matcher name = NAME.matcher(entry.getFileName().toString());
                if (name.matches() && Files.isWritable(entry)) {
                    removeIfStale(entry, Long.parseLong(name.group(1)));
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.warn("cannot look for what earlier runs left under {}: {}", parent, e.toString());
        }
    }

    /** Others may be at it at the same time. */
    private static void removeIfStale(Path entry, long pid) {
        try {
            if (isStale(entry, pid)) {
                LOG.info("deleting {}, left behind by a process that ended without cleaning up", entry);
                IoUtil.delete(entry.toFile(), true);
            }
        } catch (IOException | RuntimeException e) {
            LOG.debug("{} is left where it is: {}", entry, e.toString());
        }
    }

    /** A lock ends with its process, seen or unseen: in another container that shares the directory it may have any number. */
    private static boolean isStale(Path entry, long pid) throws IOException {
        if (pid == ProcessHandle.current().pid()) {
            return false; // to open and close the file would give up this process's own lock
        }
        Path owned = entry.resolve(OWNED);
        if (!Files.exists(owned) || entry.getFileName().toString().startsWith(MAKING)) {
            return Files.getLastModifiedTime(entry).toMillis() < System.currentTimeMillis() - UNOWNED_MS;
        }
        try (FileChannel file = FileChannel.open(owned, StandardOpenOption.WRITE);
                FileLock lock = file.tryLock()) {
            return lock != null;
        }
    }

    /** For the driver to create and delete. */
    String driverPath() {
        return path.resolve("driver").toString();
    }

    private void delete() {
        IoUtil.delete(path.toFile(), true);
    }

    @Override
    public void close() {
        delete();
        try {
            owned.close();
        } catch (IOException e) {
            LOG.debug("closing the lock of {}: {}", path, e.toString());
        }
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            LOG.debug("the JVM is ending: {} goes with it", path);
        }
    }
}
