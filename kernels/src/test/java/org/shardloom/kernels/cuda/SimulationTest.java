package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.Consumer;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.CachingAllocator;
import org.shardloom.kernels.device.PageLockedAllocator;

/** The simulation itself: it finds the faults that it is there to find. */
@OnlySimulated("the subject")
class SimulationTest {
    private static final Calls CALLS = new Calls("simulated");
    private static final int DELAY_MICROS = 2000;

    /** Runs the body on a device of its own, with a stream for kernels; what the simulation reports in the end. */
    static List<String> reports(Consumer<Stream> body) {
        return reports(1, body);
    }

    static List<String> reports(int seed, Consumer<Stream> body) {
        SimulatedDriver.start(1, 1 << 24, seed, 0);
        CUcontext context = context();
        CachingAllocator memory = new CachingAllocator(new CudaMemory(CALLS, context));
        PageLockedAllocator pinned = new PageLockedAllocator(new PinnedPages(CALLS, context));
        Events events = new Events(CALLS, context);
        Stream stream = new Stream(CALLS, context, memory, pinned, events, new byte[1]);
        try {
            body.accept(stream);
        } finally {
            memory.close();
            stream.close();
            events.close();
            pinned.close();
        }
        return SimulatedDriver.reports();
    }

    private static CUcontext context() {
        Natives.load();
        CUdevice device = new CUdevice();
        CUcontext context = new CUcontext();
        CALLS.check(JCudaDriver.cuInit(0), "cuInit");
        CALLS.check(JCudaDriver.cuDeviceGet(device, 0), "cuDeviceGet");
        CALLS.check(JCudaDriver.cuDevicePrimaryCtxRetain(context, device), "cuDevicePrimaryCtxRetain");
        CALLS.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
        return context;
    }

    static CUdeviceptr allocate(long bytes) {
        CUdeviceptr pointer = new CUdeviceptr();
        CALLS.check(JCudaDriver.cuMemAlloc(pointer, bytes), "cuMemAlloc", bytes);
        return pointer;
    }

    static void free(CUdeviceptr pointer) {
        CALLS.check(JCudaDriver.cuCtxSynchronize(), "cuCtxSynchronize");
        CALLS.check(JCudaDriver.cuMemFree(pointer), "cuMemFree");
    }

    private static void only(String expected, List<String> reports) {
        assertEquals(1, reports.size(), reports.toString());
        assertTrue(reports.get(0).startsWith(expected), reports.toString());
    }

    @Test
    void aCleanRunHasNothingToReport() {
        assertEquals(List.of(), reports(stream -> {
            CUdeviceptr block = allocate(40);
            stream.launch("faulty_write", 1, 1, 32, 0, Address.of(block), 9L);
            free(block);
        }));
    }

    @Test
    void writesBesideABlockAreFoundWhenItIsFreed() {
        for (long place : new long[] {-1, 10, 100}) {
            List<String> found = reports(stream -> {
                CUdeviceptr block = allocate(40);
                stream.launch("faulty_write", 1, 1, 32, 0, Address.of(block), place);
                free(block);
            });
            only("red zone: written " + (place < 0 ? "before" : "behind") + " a block of 40 bytes", found);
        }
    }

    @Test
    void whatIsNotFreedIsALeak() {
        only("leak: 40 bytes of device 0", reports(stream -> allocate(40)));
    }

    @Test
    void writesToAFreedBlockAreFound() {
        only("use after free: written to a freed block of 40 bytes", reports(stream -> {
            CUdeviceptr block = allocate(40);
            free(block);
            stream.launch("faulty_write", 1, 1, 32, 0, Address.of(block), 3L);
        }));
    }

    @Test
    void freeingTwiceIsFound() {
        only("freed what is not allocated", reports(stream -> {
            CUdeviceptr block = allocate(40);
            free(block);
            assertThrows(CudaException.class, () -> free(block));
        }));
    }

    @Test
    void copiesThatLeaveTheirBlockAreRefused() {
        assertEquals(List.of(), reports(stream -> {
            CUdeviceptr block = allocate(40);
            long address = Address.of(block);
            assertThrows(CudaException.class, () -> stream.write(address + 4, ByteBuffer.allocateDirect(40)));
            assertThrows(CudaException.class, () -> stream.read(address - 4, ByteBuffer.allocateDirect(40)));
            assertThrows(CudaException.class, () -> stream.fill(address, 41, 0));
            free(block);
        }));
    }

    @Test
    void barriersThatNotAllThreadsReachEndTheLaunch() {
        divergent("faulty_barrier", "threads wait for others that will not come", 5);
        divergent("faulty_barriers", "threads of a block wait at different barriers", 5);
    }

    @Test
    void shufflesThatNotAllLanesReachEndTheLaunch() {
        divergent("faulty_shuffle", "threads wait for others that will not come", 0L);
    }

    @Test
    void loadsOfMatricesOutsideOfSharedMemoryOrNotAlignedEndTheLaunch() {
        int bytes = 32 * 16;
        assertEquals(List.of(), reports(stream -> stream.launch("faulty_load", 1, 1, 32, bytes, 0)));
        for (int first : new int[] {1, 8, -8}) {
            String what = first == 1 ? "at an address that is not aligned" : "outside of the block's shared memory";
            List<String> found = reports(stream -> {
                stream.launch("faulty_load", 1, 1, 32, bytes, first);
                assertThrows(CudaException.class, stream::synchronize);
            });
            only("kernel: faulty_load: a load of matrices " + what, found);
        }
    }

    @Test
    void copiesThatAreNotAwaitedAreSometimesLate() {
        int late = 0;
        for (int seed = 1; seed <= 12; seed++) {
            assertEquals(0, lateCopies(seed, 1), "seed " + seed);
            late += lateCopies(seed, 0);
        }
        assertTrue(late > 0 && late < 12 * 64, late + " of " + 12 * 64);
    }

    /** Elements that a block reads before they are there. */
    private static int lateCopies(int seed, int wait) {
        ByteBuffer values = ByteBuffer.allocateDirect(64 * 4).order(ByteOrder.nativeOrder());
        ByteBuffer found = ByteBuffer.allocateDirect(64 * 4).order(ByteOrder.nativeOrder());
        assertEquals(List.of(), reports(seed, stream -> {
            CUdeviceptr in = allocate(256), out = allocate(256);
            stream.write(Address.of(in), values);
            stream.launch("faulty_copy", 1, 1, 64, 256, Address.of(in), Address.of(out), wait);
            stream.read(Address.of(out), found);
            free(in);
            free(out);
        }));
        int late = 0;
        for (int i = 0; i < 64; i++) {
            late += found.getFloat(4 * i) == 0 ? 0 : 1;
        }
        return late;
    }

    @Test
    void sharedMemoryBeyondTheUsualHasToBeAskedFor() {
        int much = 100 << 10, tooMuch = 200 << 10;
        assertEquals(List.of(), reports(stream -> {
            stream.launch("faulty_barrier", 1, 1, 32, much, 0);
            CudaException e =
                    assertThrows(CudaException.class, () -> stream.launch("faulty_barrier", 1, 1, 32, tooMuch, 0));
            assertTrue(e.getMessage().contains("cuFuncSetAttribute of faulty_barrier"), e.getMessage());
            CUfunction function = new CUfunction();
            CUmodule module = new CUmodule();
            CALLS.check(JCudaDriver.cuModuleLoadData(module, new byte[1]), "cuModuleLoadData");
            CALLS.check(JCudaDriver.cuModuleGetFunction(function, module, "faulty_barrier"), "cuModuleGetFunction");
            Pointer arguments = Pointer.to(Pointer.to(new int[1]));
            assertEquals(
                    CUresult.CUDA_ERROR_INVALID_VALUE,
                    JCudaDriver.cuLaunchKernel(
                            function, 1, 1, 1, 32, 1, 1, (48 << 10) + 1, stream.stream, arguments, null));
        }));
    }

    @Test
    void argumentsThatDoNotHaveTheSizesOfTheKernelsParametersAreRefused() {
        assertEquals(List.of(), reports(stream -> {
            for (Object[] wrong : new Object[][] {{}, {0L}, {0, 0}}) {
                IllegalArgumentException e = assertThrows(
                        IllegalArgumentException.class, () -> stream.launch("faulty_barrier", 1, 1, 32, 0, wrong));
                assertTrue(
                        e.getMessage().contains("kernel faulty_barrier takes parameters of [4] bytes"), e.getMessage());
            }
            stream.launch("faulty_barrier", 1, 1, 32, 0, 0);
        }));
    }

    private static void divergent(String kernel, String expected, Object argument) {
        List<String> found = reports(stream -> {
            stream.launch(kernel, 1, 1, 64, 0, argument);
            CudaException e = assertThrows(CudaException.class, stream::synchronize);
            assertEquals(719, e.code());
        });
        only("kernel: " + kernel + ": " + expected, found);
    }

    @Test
    void anUnknownKernelAndAnUnsupportedFunctionAreErrorsRatherThanTheEndOfTheProcess() {
        reports(stream -> {
            CudaException e = assertThrows(CudaException.class, () -> stream.launch("nothing", 1, 1, 32, 0));
            assertTrue(e.getMessage().contains("cuModuleGetFunction(nothing)"), e.getMessage());
            assertEquals(801, JCudaDriver.cuProfilerStart());
        });
    }

    @Test
    void aStreamThatDoesNotWaitForAnEventReadsOldValues() {
        int early = 0;
        for (int seed = 1; seed <= 12; seed++) {
            assertEquals(7, acrossStreams(seed, true), "with the event, whatever the delays; seed " + seed);
            early += acrossStreams(seed, false) == 7 ? 0 : 1;
        }
        assertTrue(early > 0, "without the event, some delays must show it");
    }

    /** One stream writes 7, another copies it down: the value that arrives. */
    private static int acrossStreams(int seed, boolean wait) {
        SimulatedDriver.start(1, 1 << 20, seed, DELAY_MICROS);
        context();
        CUdeviceptr block = allocate(4);
        CUstream first = new CUstream(), second = new CUstream();
        CUevent written = new CUevent();
        JCudaDriver.cuStreamCreate(first, 0);
        JCudaDriver.cuStreamCreate(second, 0);
        JCudaDriver.cuEventCreate(written, 0);
        ByteBuffer result = ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder());
        JCudaDriver.cuMemsetD8Async(block, (byte) 7, 4, first);
        JCudaDriver.cuEventRecord(written, first);
        if (wait) {
            JCudaDriver.cuStreamWaitEvent(second, written, 0);
        }
        JCudaDriver.cuMemcpyDtoHAsync(Pointer.to(result), block, 4, second);
        CALLS.check(JCudaDriver.cuStreamSynchronize(second), "cuStreamSynchronize");
        free(block);
        JCudaDriver.cuStreamDestroy(first);
        JCudaDriver.cuStreamDestroy(second);
        String race =
                "unsynchronised: a copy to the host in the to-host stream, which reads, does not wait for a fill in the"
                        + " compute stream, which writes";
        assertEquals(wait ? List.of() : List.of(race), SimulatedDriver.reports(), "places go by the order of creation");
        return result.get(0);
    }
}
