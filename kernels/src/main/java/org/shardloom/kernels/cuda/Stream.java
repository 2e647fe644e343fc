package org.shardloom.kernels.cuda;

import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.CachingAllocator;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.PageLockedAllocator;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.slf4j.LoggerFactory;

/** The compute stream: launches of kernels, copies and fills, in the order in which they are issued. */
final class Stream implements AutoCloseable {
    private static final int THREADS = 256;
    private static final int MOST_BLOCKS = 1 << 16;
    /** Bytes of shared memory that every kernel may have without being given more. */
    private static final int USUAL_SHARED = 48 * 1024;

    private static final long BEFORE_CUDA_12_4 = -2;

    final Calls calls;
    final CUstream stream = new CUstream();
    private final CUcontext context;
    private final CachingAllocator memory;
    private final Events events;
    private final Staging staging;
    private final Module module = new Module();
    private final ConcurrentMap<String, Kernel> functions = new ConcurrentHashMap<>();
    /** What kernels were given beyond the usual. */
    private final ConcurrentMap<String, Integer> sharedLimits = new ConcurrentHashMap<>();
    /** Whoever times launches; null nearly always. */
    private LaunchTimer timer;

    private static final class Module extends CUmodule {
        /** Kernels are loaded at once: loaded one by one, each might hold up the device in the middle of a step (CUDA, "Lazy Loading"). */
        void load(Calls calls, byte[] image) {
            calls.check(JCudaDriver.cuModuleLoadData(this, image), "cuModuleLoadData", image.length + " bytes");
            long result = NativeCpu.loadKernels(getNativePointer());
            if (result != BEFORE_CUDA_12_4) {
                calls.check(Math.toIntExact(result), "cuFuncLoad of the module's kernels");
            }
        }
    }

    /** The context is current. */
    Stream(
            Calls calls,
            CUcontext context,
            CachingAllocator memory,
            PageLockedAllocator pinned,
            Events events,
            byte[] image) {
        this.calls = calls;
        this.context = context;
        this.memory = memory;
        this.events = events;
        module.load(calls, image);
        // Not ordered with the default stream, which nothing here uses.
        calls.check(JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
        staging = new Staging(calls, context, stream, events, pinned);
    }

    /** Memory for the time of one operation; released, it is free for what is issued next. */
    Memory workspace() {
        return new Memory(memory, Purpose.WORKSPACE);
    }

    /** Memory for what kernels look up, as long as they are there. */
    Memory constants() {
        return new Memory(memory, Purpose.PARAMETERS);
    }

    /** Memory for what stays to the device's end. */
    Memory lastingWorkspace() {
        return new Memory(memory.lasting(), Purpose.WORKSPACE);
    }

    /** Gives the driver what the allocator keeps for others. */
    void trim() {
        memory.trim();
    }

    /** For messages: what holds the device's memory. */
    String memoryText() {
        return memory.describe();
    }

    static String suffix(DType dtype) {
        return switch (dtype) {
            case F32 -> "_f32";
            case BF16 -> "_bf16";
            case F16 -> "_f16";
        };
    }

    /** A kernel that shares out n elements among all its threads. */
    void each(String kernel, long n, Object... arguments) {
        launch(kernel, Math.min((n + THREADS - 1) / THREADS, MOST_BLOCKS), 1, THREADS, 0, arguments);
    }

    /** A kernel with a block a row, whose threads share n elements. */
    void rows(String kernel, long rows, long n, Object... arguments) {
        int threads = (int) Math.min(THREADS, Math.max(1, (n + 31) / 32) * 32);
        launch(kernel, rows, 1, threads, 0, arguments);
    }

    /**
     * Launches a kernel; nothing happens where there are no blocks.
     *
     * @param arguments Tensor or null (an address), Long, Integer, Float: as the kernel declares them
     */
    void launch(String kernel, long blocks, int blocksY, int threads, int sharedBytes, Object... arguments) {
        launch(stream, kernel, blocks, blocksY, threads, sharedBytes, arguments);
    }

    /** Every launch from now on is timed, in whichever stream; null: none. */
    void time(LaunchTimer by) {
        timer = by;
    }

    /** Like {@link #each}, in another stream. */
    void eachOn(CUstream other, String kernel, long n, Object... arguments) {
        launch(other, kernel, Math.min((n + THREADS - 1) / THREADS, MOST_BLOCKS), 1, THREADS, 0, arguments);
    }

    private void launch(
            CUstream on, String kernel, long blocks, int blocksY, int threads, int sharedBytes, Object... arguments) {
        if (blocks == 0 || blocksY == 0) {
            return;
        }
        enter();
        Kernel function = functions.computeIfAbsent(kernel, name -> new Kernel(calls, module, name));
        Pointer parameters = function.arguments(arguments);
        if (sharedBytes > sharedLimits.getOrDefault(kernel, USUAL_SHARED)) {
            int attribute = CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            int result = JCudaDriver.cuFuncSetAttribute(function, attribute, sharedBytes);
            calls.check(result, "cuFuncSetAttribute of " + kernel, "MAX_DYNAMIC_SHARED_SIZE_BYTES", sharedBytes);
            sharedLimits.put(kernel, sharedBytes);
        }
        Runnable launch = () -> {
            int result = JCudaDriver.cuLaunchKernel(
                    function, Math.toIntExact(blocks), blocksY, 1, threads, 1, 1, sharedBytes, on, parameters, null);
            if (result != 0) {
                calls.check(
                        result,
                        "cuLaunchKernel of " + kernel + " in " + blocks + " x " + blocksY + " blocks",
                        arguments);
            }
        };
        if (timer != null) {
            timer.around(kernel, on, launch);
        } else {
            launch.run();
        }
    }

    void fill(long address, long bytes, int value) {
        if (bytes > 0) {
            enter();
            int result = JCudaDriver.cuMemsetD8Async(Address.pointer(address), (byte) value, bytes, stream);
            calls.check(result, "cuMemsetD8Async", Long.toHexString(address), value, bytes);
        }
    }

    void copy(long to, long from, long bytes) {
        if (bytes > 0 && to != from) {
            enter();
            int result = JCudaDriver.cuMemcpyDtoDAsync(Address.pointer(to), Address.pointer(from), bytes, stream);
            calls.check(result, "cuMemcpyDtoDAsync", Long.toHexString(to), Long.toHexString(from), bytes);
        }
    }

    /** Copies all that remains in the buffer to the device, in the order of the stream. */
    void write(long address, ByteBuffer source) {
        staging.write(address, source);
    }

    /** Fills what remains of the buffer from the device; waits for all that was issued. */
    void read(long address, ByteBuffer destination) {
        staging.read(address, destination);
    }

    void synchronize() {
        enter();
        calls.check(JCudaDriver.cuStreamSynchronize(stream), "cuStreamSynchronize");
        events.validate();
    }

    /** Has what failed on the device remembered, without waiting for anything. */
    void look() {
        try {
            enter();
            int result = JCudaDriver.cuStreamQuery(stream);
            if (result != CUresult.CUDA_ERROR_NOT_READY) {
                calls.check(result, "cuStreamQuery");
            }
        } catch (CudaException e) {
            LoggerFactory.getLogger(Stream.class).warn("{}", e.getMessage());
        }
    }

    /** A context is current for a thread: whichever thread calls has this device's from now on. */
    void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    @Override
    public void close() {
        enter();
        staging.close();
        calls.check(JCudaDriver.cuStreamDestroy(stream), "cuStreamDestroy");
        calls.check(JCudaDriver.cuModuleUnload(module), "cuModuleUnload");
    }
}
