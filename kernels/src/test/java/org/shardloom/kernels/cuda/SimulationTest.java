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
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.CachingAllocator;

/** The simulation itself: it finds the faults that it is there to find. */
class SimulationTest {
    private static final Calls CALLS = new Calls("simulated");
    private static final int DELAY_MICROS = 2000;

    /** Runs the body on a device of its own, with a stream for kernels; what the simulation reports in the end. */
    private static List<String> reports(Consumer<Stream> body) {
        SimulatedDriver.start(1, 1 << 24, 1, 0);
        CUcontext context = context();
        CachingAllocator memory = new CachingAllocator(new CudaMemory(CALLS, context));
        PinnedMemory pinned = new PinnedMemory(CALLS, context);
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

    private static CUdeviceptr allocate(long bytes) {
        CUdeviceptr pointer = new CUdeviceptr();
        CALLS.check(JCudaDriver.cuMemAlloc(pointer, bytes), "cuMemAlloc", bytes);
        return pointer;
    }

    private static void free(CUdeviceptr pointer) {
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
        assertEquals(List.of(), SimulatedDriver.reports());
        return result.get(0);
    }
}
