package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaException.Library;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The device over the simulated driver or on a GPU: what goes up comes down, memory runs out, calls fail. */
class CudaDeviceTest {
    private static final long MEGABYTE = 1 << 20;

    @Test
    void tensorsGoUpAreAddedAndComeDown() {
        int devices = SimulatedDriver.simulated() ? 2 : Math.max(1, GpuTier.count());
        SimulatedDriver.start(devices, 64 * MEGABYTE, 1, 100);
        for (int index = 0; index < devices; index++) {
            try (CudaDevice device = new CudaDevice(index, SimulatedDriver.images());
                    Memory memory = device.memory(Purpose.ACTIVATIONS)) {
                assertEquals("cuda:" + index, device.name());
                Tensor a = Inputs.floats(device, memory, new float[] {1, 2, 3}, 3);
                Tensor b = Inputs.floats(device, memory, new float[] {10, 20, 30}, 3);
                Tensor sum = memory.allocate(DType.F32, 3);
                device.ops().add(sum, a, b);
                assertArrayEquals(new float[] {11, 22, 33}, Inputs.toFloats(device, sum));
                assertEquals(3 * 512, device.statistics().currentBytes());
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    /** Copies to and from page-locked memory keep their place among what is issued, and the host waits for them alone. */
    @Test
    void hostMemoryIsCopiedInOrder() {
        SimulatedDriver.start(1, 64 * MEGABYTE, 7, 300);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory memory = device.memory(Purpose.GRADIENTS);
                Memory host = device.hostMemory(Purpose.GRADIENTS)) {
            assertFalse(device.sharesHostMemory());
            int n = 100_000;
            Tensor a = memory.allocate(DType.F32, n);
            Tensor first = host.allocate(DType.F32, n);
            Tensor second = host.allocate(DType.F32, n);
            Tensor up = host.allocate(DType.F32, n);
            HostBytes.view(up.address(), up.bytes()).asFloatBuffer().put(constant(n, 3));
            device.toDevice(a, up).join();
            Device.Transfer once = device.toHost(first, a, device.issued());
            once.join();
            device.ops().add(a, a, a);
            Device.Transfer twice = device.toHost(second, a, device.issued());
            twice.join();
            device.ops().zero(a);
            once.await();
            twice.await();
            twice.await();
            assertEquals(9.0 * n, device.hostOps().sumOfSquares(first));
            assertEquals(36.0 * n, device.hostOps().sumOfSquares(second));
            assertEquals(0, device.ops().sumOfSquares(a));
            assertEquals(
                    3L * (4 * n + 511) / 512 * 512 + Staging.BYTES,
                    device.hostStatistics().currentBytes(),
                    1536);
            assertThrows(IllegalArgumentException.class, () -> device.toHost(first.slice(0, 5), a, device.issued()));
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    private static float[] constant(int n, float value) {
        float[] values = new float[n];
        Arrays.fill(values, value);
        return values;
    }

    @Test
    void anUnknownDeviceIsRefusedByName() {
        SimulatedDriver.start(1, MEGABYTE, 1, 0);
        CudaException e = assertThrows(CudaException.class, () -> new CudaDevice(99, SimulatedDriver.images()));
        assertTrue(e.getMessage().startsWith("cuda:99: cuDeviceGet(99) returned 101"), e.getMessage());
    }

    @OnlySimulated("a device of 8 MB")
    @Test
    void whoAsksForTooMuchIsToldWhatHoldsTheRest() {
        SimulatedDriver.start(1, 8 * MEGABYTE, 1, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory parameters = device.memory(Purpose.PARAMETERS);
                Memory activations = device.memory(Purpose.ACTIVATIONS)) {
            parameters.allocate(DType.F32, MEGABYTE);
            OutOfMemoryException e =
                    assertThrows(OutOfMemoryException.class, () -> activations.allocate(DType.F32, 2 * MEGABYTE));
            for (String part :
                    new String[] {"cuda:0", "no room for 8388608 bytes of ACTIVATIONS", "PARAMETERS=4194304"}) {
                assertTrue(e.getMessage().contains(part), e.getMessage());
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    @OnlySimulated("a failing allocation")
    @Test
    void theCacheIsGivenBackBeforeMemoryRunsOut() {
        SimulatedDriver.start(1, 8 * MEGABYTE, 1, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images())) {
            try (Memory first = device.memory(Purpose.WORKSPACE)) {
                first.allocate(DType.F32, MEGABYTE);
            }
            try (Memory second = device.memory(Purpose.WORKSPACE)) {
                second.allocate(DType.F32, 2 * MEGABYTE);
            }
            try (Memory third = device.memory(Purpose.WORKSPACE)) {
                device.trim();
                SimulatedDriver.failAllocation(1);
                third.allocate(DType.F32, 10);
                assertEquals(512, device.statistics().currentBytes(), "a single failure is tried again");
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    @OnlySimulated("a product for which there is no memory")
    @Test
    void aProductThatLacksMemoryGetsWhatTheCacheKeeps() {
        SimulatedDriver.start(1, 128 * MEGABYTE, 1, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            Tensor x = Inputs.floats(device, memory, new float[] {1, 2}, 1, 2);
            Tensor weight = Inputs.floats(device, memory, new float[] {3, 4, 5, 6}, 2, 2);
            Tensor y = memory.allocate(DType.F32, 1, 2);
            try (Memory passing = device.memory(Purpose.WORKSPACE)) {
                passing.allocate(DType.F32, 4 * MEGABYTE);
            }
            long kept = device.allocator().reservedBytes();
            SimulatedDriver.failProducts(1);
            device.ops().linear(y, x, weight);
            assertArrayEquals(new float[] {11, 17}, Inputs.toFloats(device, y));
            assertTrue(device.allocator().reservedBytes() - OpWorkspace.PRODUCTS < kept, "nothing was given back");
            SimulatedDriver.failProducts(2);
            OutOfMemoryException e =
                    assertThrows(OutOfMemoryException.class, () -> device.ops().linear(y, x, weight));
            for (String part : new String[] {"cuBLAS", "cuda:0", "ACTIVATIONS=1536", "WORKSPACE=33554432"}) {
                assertTrue(e.getMessage().contains(part), e.getMessage());
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    /** Loading one in the middle of a step might hold up the device. */
    @OnlySimulated("when kernels are loaded")
    @Test
    void kernelsAreLoadedWithTheDevice() {
        SimulatedDriver.start(1, 64 * MEGABYTE, 1, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            long before = SimulatedDriver.lateLoads();
            Tensor x = Inputs.floats(device, memory, new float[] {1, 2, 3}, 3);
            device.ops().scale(x, 2);
            assertArrayEquals(new float[] {2, 4, 6}, Inputs.toFloats(device, x));
            assertEquals(before, SimulatedDriver.lateLoads());
        }
    }

    /** 2 and 3 of the driver: no memory, and not initialised. */
    @Test
    void everyLibraryHasCodesOfItsOwn() {
        Map<Library, Set<Integer>> ofOneDevice = new EnumMap<>(Library.class);
        for (Library library : Library.values()) {
            Set<Integer> codes = new TreeSet<>();
            for (int code : new int[] {1, 2, 3, 7, 13}) {
                if (new CudaException(library, code, "").concernsOneDevice()) {
                    codes.add(code);
                }
            }
            ofOneDevice.put(library, codes);
        }
        assertEquals(
                Map.of(Library.DRIVER, Set.of(2), Library.CUBLAS, Set.of(1, 3, 13), Library.NVRTC, Set.of()),
                ofOneDevice);
    }

    @OnlySimulated("a failing launch")
    @Test
    void aFailedLaunchNamesTheKernelAndItsArguments() {
        SimulatedDriver.start(1, 8 * MEGABYTE, 1, 0);
        CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
        Memory memory = device.memory(Purpose.ACTIVATIONS);
        Tensor x = memory.allocate(DType.BF16, 3, 5);
        assertEquals(Optional.empty(), device.lost());
        assertThrows(OutOfMemoryException.class, () -> memory.allocate(DType.F32, 1 << 22));
        assertEquals(Optional.empty(), device.lost(), "a block that is not to be had is no loss");
        SimulatedDriver.failLaunch(1);
        CudaException e = assertThrows(CudaException.class, () -> device.ops().scale(x, 2));
        assertEquals(719, e.code());
        assertTrue(e.getMessage().contains("cuLaunchKernel of scale_bf16"), e.getMessage());
        assertTrue(e.getMessage().contains("BF16[3, 5]"), e.getMessage());
        assertThrows(CudaException.class, device::synchronize, "the failure stays");
        assertEquals(Optional.of(e.getMessage()), device.lost());
        memory.close();
        assertThrows(CudaException.class, device::close);
        SimulatedDriver.reports();
    }
}
