package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The shipped sources through NVIDIA's own compiler, which needs no GPU: where its library is there. The simulated one compiles nothing. */
@Timeout(120)
class NvrtcTest {
    private final Nvrtc compiler = new Nvrtc();

    @BeforeEach
    void requireTheRealOne() {
        String version;
        try {
            version = compiler.version();
        } catch (CudaException | LinkageError e) {
            version = "none: " + e.getMessage();
        }
        if (!version.matches("[1-9].*")) {
            System.err.println("*** SKIPPED: no NVRTC of NVIDIA's here ("
                    + version.lines().findFirst().orElse("") + ") ***");
        }
        Assumptions.assumeTrue(version.matches("[1-9].*"), "no NVRTC of NVIDIA's");
    }

    @Test
    void theSourcesNeedNoHeadersForEachArchitecture() {
        for (String target : List.of("sm_80", "sm_90")) {
            byte[] cubin = compiler.compile(KernelSources.shipped(), options(target));
            assertEquals("\u007fELF", new String(cubin, 0, 4, StandardCharsets.ISO_8859_1), target);
        }
        String ptx =
                new String(compiler.compile(KernelSources.shipped(), options("compute_90")), StandardCharsets.US_ASCII);
        assertTrue(ptx.contains(".target sm_90") && ptx.endsWith("\0"), ptx.substring(0, 200));
        assertTrue(compiler.capabilities().contains(90));
    }

    @Test
    void whatDoesNotCompileIsShown() {
        KernelSources wrong = new KernelSources("extern \"C\" __global__ void f() { nonsense; }", Map.of());
        CudaException e = assertThrows(CudaException.class, () -> compiler.compile(wrong, options("sm_80")));
        assertTrue(e.getMessage().contains("nonsense"), e.getMessage());
    }

    private static List<String> options(String target) {
        return List.of("--std=c++17", "--gpu-architecture=" + target);
    }
}
