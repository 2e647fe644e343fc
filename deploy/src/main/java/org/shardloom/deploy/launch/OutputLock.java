package org.shardloom.deploy.launch;

import java.io.Closeable;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import org.shardloom.coordinator.run.CheckpointFiles;

/**
 * The one coordinator that may write in an output directory holds its lock; the operating system takes it back from one that was
 * killed.
 */
public final class OutputLock implements Closeable {
    private static final String NAME = ".lock";
    private final FileChannel channel;

    private OutputLock(FileChannel channel) {
        this.channel = channel;
    }

    /** Takes the lock of an existing directory; empty when a run has it. */
    public static Optional<OutputLock> tryTake(Path outputDir) throws IOException {
        FileChannel channel =
                FileChannel.open(outputDir.resolve(NAME), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        try {
            FileLock lock = channel.tryLock();
            if (lock != null) {
                return Optional.of(new OutputLock(channel));
            }
        } catch (OverlappingFileLockException e) {
            // Held by this very process.
        } catch (IOException e) {
            channel.close();
            throw e;
        }
        channel.close();
        return Optional.empty();
    }

    /**
     * Puts right what a killed run left in the directory. Nothing is touched where a run is under way, where there never was any, or
     * where this user may not write.
     */
    public static void heal(Path outputDir) throws IOException {
        if (Files.isWritable(outputDir) && Files.isWritable(outputDir.resolve(NAME))) {
            Optional<OutputLock> lock = tryTake(outputDir);
            if (lock.isPresent()) {
                try {
                    CheckpointFiles.heal(outputDir);
                } finally {
                    lock.get().close();
                }
            }
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
