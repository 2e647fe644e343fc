package org.shardloom.kernels.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.JCublas2;
import jcuda.nvrtc.JNvrtc;
import org.bytedeco.cuda.global.cublas;
import org.bytedeco.cuda.global.nvrtc;

/** Loads JCuda's libraries. */
public final class Natives {
    private static boolean driver;
    private static boolean loaded;
    private static boolean compiler;

    private Natives() {}

    /** What calls of the driver alone need. */
    public static synchronized void loadDriver() {
        if (!driver) {
            alone(() -> JCudaDriver.setExceptionsEnabled(false));
            driver = true;
        }
    }

    static synchronized void load() {
        if (!loaded) {
            alone(() -> {
                JCudaDriver.setExceptionsEnabled(false);
                Redist.provide("libcublas.so.12", cublas.class);
                JCublas2.setExceptionsEnabled(false);
                JCublas2.initialize();
            });
            driver = true;
            loaded = true;
        }
    }

    /** What compiling kernels needs. */
    static synchronized void loadCompiler() {
        if (!compiler) {
            alone(() -> {
                Redist.provide("libnvrtc.so.12", nvrtc.class);
                JNvrtc.setExceptionsEnabled(false);
            });
            compiler = true;
        }
    }

    /**
     * JCuda unpacks its libraries to files of fixed names and takes those that it finds for whole, so processes that start at once must do
     * it one after the other.
     */
    private static void alone(Runnable loading) {
        Path lock = Path.of(
                System.getProperty("java.io.tmpdir"), "shardloom-jcuda-" + System.getProperty("user.name") + ".lock");
        try (FileChannel channel = FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock held = channel.lock()) {
            if (held.isValid()) {
                loading.run();
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot lock " + lock + " to unpack JCuda", e);
        }
    }
}
