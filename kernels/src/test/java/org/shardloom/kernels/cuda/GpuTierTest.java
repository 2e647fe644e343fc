package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** What the tests on GPUs stand on: whether there are enough, and operands that are copied. */
class GpuTierTest {
    private static Driver driver(int gpus) {
        return new Driver(
                Optional.empty(),
                12060,
                IntStream.range(0, gpus)
                        .mapToObj(i -> new Gpu(i, "card", "GPU-" + i, "0000:0" + i + ":00.0", 8, 0, 1, Set.of()))
                        .toList());
    }

    @Test
    void whatIsMissingIsSaid() {
        Driver none = new Driver(Optional.of("no NVIDIA driver: libcuda.so.1"), 0, List.of());
        assertEquals(Optional.of("no NVIDIA driver: libcuda.so.1"), GpuTier.missing(none, 1));
        assertEquals("GPU tests: SKIPPED, no NVIDIA driver: libcuda.so.1", GpuTier.line(none));
        assertEquals(Optional.empty(), GpuTier.missing(driver(2), 2));
        assertEquals(Optional.of("it needs 4 GPUs, and there are 2"), GpuTier.missing(driver(2), 4));
        assertEquals("GPU tests: on card, card; those of more ranks than GPUs are skipped", GpuTier.line(driver(2)));
    }

    @Test
    void operandsAreCopiedTogetherWhereTheyOverlap() {
        SimulatedDriver.start(1, 1 << 24, 1, 100);
        long address = NativeCpu.allocate(44);
        ByteBuffer bytes = HostBytes.view(address, 44);
        Tensor all = new Tensor(address + 4, DType.F32, 10);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images())) {
            Ops ops = (Ops) Proxy.newProxyInstance(
                    Ops.class.getClassLoader(), new Class<?>[] {Ops.class}, new CopiedOps(device));
            for (int i = 0; i < 11; i++) {
                bytes.putFloat(4 * i, i);
            }
            // Into one of its operands, which the other overlaps.
            ops.add(all.slice(0, 1), all.slice(0, 1), all.slice(9, 1));
            ops.add(all.slice(1, 4), all.slice(1, 4), all.slice(5, 4));
            ops.scale(all, 2);
            float[] found = new float[11];
            bytes.asFloatBuffer().get(found);
            assertArrayEquals(new float[] {0, 22, 16, 20, 24, 28, 12, 14, 16, 18, 20}, found);
            assertThrows(IllegalArgumentException.class, () -> ops.add(all, all, all.slice(0, 3)));
            assertEquals(0, device.statistics().currentBytes());
        }
        NativeCpu.release(address, 44);
        assertEquals(List.of(), SimulatedDriver.reports());
    }
}
