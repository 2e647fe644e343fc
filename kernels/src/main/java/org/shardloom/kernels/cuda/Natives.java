package org.shardloom.kernels.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.JCublas2;

/** Loads JCuda's libraries. */
final class Natives {
    private static boolean loaded;

    private Natives() {}

    /**
     * JCuda unpacks its libraries to files of fixed names and takes those that it finds for whole, so processes that start at once must do
     * it one after the other.
     */
    static synchronized void load() {
        if (loaded) {
            return;
        }
        Path lock = Path.of(System.getProperty("java.io.tmpdir"), "shardloom-jcuda.lock");
        try (FileChannel channel = FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock held = channel.lock()) {
            if (held.isValid()) {
                JCudaDriver.setExceptionsEnabled(false);
                JCublas2.setExceptionsEnabled(false);
                JCublas2.initialize();
            }
            loaded = true;
        } catch (IOException e) {
            throw new UncheckedIOException("cannot lock " + lock + " to unpack JCuda", e);
        }
    }
}
