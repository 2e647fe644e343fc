package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.Gpu;

/** What {@code device: auto} comes to on hosts that nobody has. */
class JobDeviceTest {
    /** A driver that shows GPUs of these compute capabilities, times ten. */
    private static Driver showing(int... capabilities) {
        List<Gpu> gpus = IntStream.range(0, capabilities.length)
                .mapToObj(i -> new Gpu(
                        i,
                        "card",
                        "GPU-" + i,
                        "0000:0" + i + ":00.0",
                        capabilities[i] / 10,
                        capabilities[i] % 10,
                        1L << 30,
                        Set.of()))
                .toList();
        return new Driver(Optional.empty(), 12060, gpus);
    }

    @Test
    void oneGpuThatTheKernelsRunOnIsEnough() {
        for (int[] capabilities : List.of(new int[] {80}, new int[] {75, 90}, new int[] {120})) {
            assertEquals(Optional.empty(), JobDevice.processors(showing(capabilities)), Arrays.toString(capabilities));
        }
    }

    @Test
    void whyThereIsNoneIsSaidInOneLine() {
        assertEquals(
                Optional.of("the NVIDIA driver shows no GPU: computing on the CPU"), JobDevice.processors(showing()));
        assertEquals(
                Optional.of("GPU 0 has compute capability 7.5, 8.0 is needed: computing on the CPU"),
                JobDevice.processors(showing(75)));
        assertEquals(
                Optional.of("GPU 0 has compute capability 7.5, 8.0 is needed; GPU 1 has compute capability 6.1, 8.0 is "
                        + "needed: computing on the CPU"),
                JobDevice.processors(showing(75, 61)));
        assertEquals(
                Optional.of("no NVIDIA driver: libcuda.so.1: no such file: computing on the CPU"),
                JobDevice.processors(
                        new Driver(Optional.of("no NVIDIA driver: libcuda.so.1: no such file"), 0, List.of())));
    }
}
