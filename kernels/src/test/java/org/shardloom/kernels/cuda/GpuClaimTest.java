package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.cuda.probe.Gpu;

/** One worker a GPU, whichever it asks for. Claims of one process are refused as another's are. */
@SuppressWarnings("try") // claims are held, and closed early
@Timeout(30)
class GpuClaimTest {
    private static final List<Gpu> GPUS = IntStream.range(0, 3)
            .mapToObj(
                    i -> new Gpu(i, "card", "GPU-" + "abc".charAt(i) + "0ffee", "0000:0" + i, 8, 0, 1L << 30, Set.of()))
            .toList();

    @TempDir
    Path directory;

    private GpuClaim take(String choice) {
        return GpuClaim.take(GPUS, choice, directory, Duration.ZERO);
    }

    private String refused(String choice) {
        return assertThrows(CudaException.class, () -> take(choice)).getMessage();
    }

    @Test
    void withoutAChoiceTheFirstThatIsFreeIsTaken() {
        try (GpuClaim first = take("");
                GpuClaim second = take("")) {
            assertEquals(0, first.gpu().ordinal());
            assertEquals(1, second.gpu().ordinal());
            first.close();
            try (GpuClaim again = take(" ")) {
                assertEquals(0, again.gpu().ordinal());
            }
        }
    }

    @Test
    void aGpuIsNamedByItsOrdinalOrTheBeginningOfItsUuid() {
        try (GpuClaim byOrdinal = take("2");
                GpuClaim byUuid = take("GPU-b0")) {
            assertEquals(2, byOrdinal.gpu().ordinal());
            assertEquals(1, byUuid.gpu().ordinal());
        }
        for (String other : List.of("3", "-1", "GPU-d", "GPU", "card")) {
            String message = refused(other);
            assertTrue(message.startsWith("no GPU '" + other + "'; the driver shows [0 (GPU-a0ffee), "), message);
        }
    }

    @Test
    void whoHasItIsSaid() {
        long self = ProcessHandle.current().pid();
        try (GpuClaim a = take("0")) {
            assertEquals("GPU 0 is in use by another worker, process " + self, refused("0"));
            try (GpuClaim b = take("");
                    GpuClaim c = take("")) {
                assertEquals(
                        "each of the 3 GPUs is in use by another worker, processes " + self + ", " + self + ", " + self
                                + ": one worker a GPU",
                        refused(""));
            }
        }
    }

    @Test
    void gpusThatTheKernelsDoNotRunOnArePassedOver() {
        List<Gpu> mixed = List.of(new Gpu(0, "card", "GPU-a0ffee", "0000:00", 7, 5, 1L << 30, Set.of()), GPUS.get(1));
        try (GpuClaim first = GpuClaim.take(mixed, "", directory, Duration.ZERO)) {
            assertEquals(1, first.gpu().ordinal());
            assertEquals(
                    "GPU 1 is in use by another worker, process "
                            + ProcessHandle.current().pid() + "; GPU 0 has compute capability 7.5, 8.0 is needed",
                    assertThrows(CudaException.class, () -> GpuClaim.take(mixed, "", directory, Duration.ZERO))
                            .getMessage());
        }
        for (String choice : List.of("0", "GPU-a0")) {
            assertEquals(
                    "GPU 0 has compute capability 7.5, 8.0 is needed",
                    assertThrows(CudaException.class, () -> GpuClaim.take(mixed, choice, directory, Duration.ZERO))
                            .getMessage());
        }
    }

    /** A worker that was killed keeps its GPU until the system has taken it down. */
    @Test
    void anOwnerThatEndsSoonIsWaitedFor() throws Exception {
        GpuClaim owner = take("1");
        Thread end = new Thread(() -> {
            try {
                Thread.sleep(300);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            owner.close();
        });
        end.start();
        try (GpuClaim next = GpuClaim.take(GPUS, "1", directory, Duration.ofSeconds(20))) {
            assertEquals(1, next.gpu().ordinal());
        }
        end.join();
    }
}
