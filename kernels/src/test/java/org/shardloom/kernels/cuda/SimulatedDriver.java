package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;

/**
 * The simulated CUDA driver of {@code src/test/cpp}, in place of libcuda, libcublas and libnccl for this whole JVM. Kernels are compiled by g++ for
 * the host; nothing here says how a GPU behaves.
 */
public final class SimulatedDriver {
    private static final long CAPACITY = 1 << 16;
    private static boolean loaded;

    private SimulatedDriver() {}

    /** Whether the simulation is what tests run on; else it is never loaded, and its faults and counters must not be asked for. */
    public static boolean simulated() {
        return !GpuTier.real();
    }

    /**
     * Loads the simulation before JCuda looks for the real libraries, and begins anew. Where tests run on GPUs, only skips the calling test
     * when there are not so many.
     */
    public static synchronized void start(int devices, long bytesPerDevice, long seed, int longestDelayMicros) {
        if (!simulated()) {
            GpuTier.missing(devices).ifPresent(reason -> assumeTrue(false, "not run on a GPU: " + reason));
            return;
        }
        if (!loaded) {
            Path directory =
                    Path.of(System.getProperty("shardloom.cuda.simulation")).toAbsolutePath();
            // In this order: each finds those before it.
            for (String library : List.of("libcuda.so.1", "libcudart.so.12", "libnccl.so.2", "libcublas.so.12")) {
                System.load(directory.resolve(library).toString());
            }
            loaded = true;
        }
        takeHostMemory(false);
        dropWaits(0);
        slow(-1, 0);
        hangCollective(0);
        stallCollective(0);
        hangEnd(0);
        failProducts(0);
        ncclVersion(22304);
        configure(devices, bytesPerDevice, seed, longestDelayMicros);
    }

    /** Any image stands for the kernels that g++ compiled; on a GPU they are compiled for it. */
    public static KernelImages images() {
        if (!simulated()) {
            return CachedImages.in(
                    Path.of(System.getProperty("shardloom.root"), "kernels", "target", "gpu-test-kernels"));
        }
        return architecture -> "simulated".getBytes(StandardCharsets.UTF_8);
    }

    /** Ends the run: what was written out of bounds or after it was freed, what was not freed, what kernels did wrong. Of a GPU nothing is known. */
    public static List<String> reports() {
        if (!simulated()) {
            return List.of();
        }
        long address = NativeCpu.allocate(CAPACITY);
        try {
            byte[] text = new byte[(int) finish(address, CAPACITY)];
            HostBytes.view(address, text.length).get(text);
            return new String(text, StandardCharsets.UTF_8).lines().toList();
        } finally {
            NativeCpu.release(address, CAPACITY);
        }
    }

    private static native void configure(int devices, long bytes, long seed, int delayMicros);

    /** The k-th allocation from now on fails, as if memory had run out; 0 for none. */
    static native void failAllocation(long k);

    /** cuBLAS finds no memory for so many products from now on. */
    static native void failProducts(long count);

    /** The k-th launch from now on fails, and all calls after it, as a device does whose kernel has failed; 0 for none. */
    static native void failLaunch(long k);

    /** Addresses of the host pass for the device's. */
    static native void takeHostMemory(boolean yes);

    /** Allocations of device memory so far. */
    public static native long allocations();

    /** Copies to or from host memory that is not page-locked. */
    public static native long pageableCopies();

    /** Kernels that were loaded when they were first asked for, not with their module. */
    static native long lateLoads();

    /** Waits for all of the device. */
    public static native long deviceWaits(int device);

    /** The most that was allocated on the device at once. */
    public static native long peakBytes(int device);

    /** The most host memory that was page-locked for the device at once. */
    public static native long pinnedPeakBytes(int device);

    /** The k-th wait of a stream for an event from now on is left out; 0 for none, -1 for all. */
    public static native void dropWaits(long k);

    /** The k-th collective that this process issues from now on never ends; 0 for none. */
    public static native void hangCollective(long k);

    /** NCCL never gets further with the k-th collective from now on than to say that it is in progress; 0 for none. */
    public static native void stallCollective(long k);

    /**
     * The call that gives up or gives back the k-th of this process's NCCL communicators from now on does not come back; 0 for none. Those
     * that hang already go on.
     */
    public static native void hangEnd(long k);

    /** NCCL communicators that this process has aborted so far. */
    public static native long aborts();

    /** What NCCL says its version is. */
    public static native void ncclVersion(int version);

    /** The streams of a device, in the order of their creation. */
    public enum Lane {
        COMPUTE,
        TO_HOST,
        TO_DEVICE,
        COMMUNICATION
    }

    /**
     * One stream of every device takes so much longer from now on over everything: what does not wait for it comes too early. Until the next
     * start. A GPU's streams are as fast as they are.
     */
    public static void slow(Lane lane, int micros) {
        if (simulated()) {
            slow(lane.ordinal(), micros);
        }
    }

    private static native void slow(int place, int micros);

    private static native long finish(long address, long capacity);
}
