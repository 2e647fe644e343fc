package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Kernels are compiled once for all that they depend on. */
class CachedImagesTest {
    private static final KernelSources SOURCES = new KernelSources("main", Map.of("a.cu", "text"));

    @TempDir
    Path directory;

    private final List<List<String>> compiled = new ArrayList<>();

    private byte[] image(String version, KernelSources sources, String architecture) {
        CachedImages.Compiler compiler = new CachedImages.Compiler() {
            @Override
            public String version() {
                return version;
            }

            @Override
            public Set<Integer> capabilities() {
                return Set.of(80, 86, 90);
            }

            @Override
            public byte[] compile(KernelSources from, List<String> options) {
                compiled.add(options);
                return new byte[] {(byte) compiled.size(), 1, 2};
            }
        };
        return new CachedImages(compiler, sources, directory.resolve("kernels")).image(architecture);
    }

    @Test
    void theSecondTimeNothingIsCompiled() throws Exception {
        byte[] first = image("12.6", SOURCES, "sm_90");
        assertArrayEquals(first, image("12.6", SOURCES, "sm_90"));
        assertEquals(List.of(List.of("--std=c++17", "--gpu-architecture=sm_90")), compiled);
        try (Stream<Path> files = Files.list(directory.resolve("kernels"))) {
            assertEquals(1, files.count(), "nothing half-written stays");
        }
    }

    @Test
    void anotherArchitectureSourceOrCompilerIsCompiledAnew() {
        image("12.6", SOURCES, "sm_90");
        image("12.6", SOURCES, "sm_80");
        image("12.6", new KernelSources("main", Map.of("a.cu", "other")), "sm_90");
        image("12.4", SOURCES, "sm_90");
        assertEquals(4, compiled.size());
    }

    @Test
    void aDamagedImageIsCompiledAnew() throws Exception {
        image("12.6", SOURCES, "sm_90");
        Path file;
        try (Stream<Path> files = Files.list(directory.resolve("kernels"))) {
            file = files.findFirst().orElseThrow();
        }
        byte[] kept = Files.readAllBytes(file);
        kept[1] ^= 1;
        Files.write(file, kept);
        assertArrayEquals(new byte[] {2, 1, 2}, image("12.6", SOURCES, "sm_90"));
        Files.write(file, new byte[3]);
        assertArrayEquals(new byte[] {3, 1, 2}, image("12.6", SOURCES, "sm_90"));
        assertArrayEquals(new byte[] {3, 1, 2}, image("12.6", SOURCES, "sm_90"));
    }

    @Test
    void aGpuNewerThanTheCompilerGetsPtxOfTheNewestThatItKnows() throws Exception {
        byte[] first = image("12.6", SOURCES, "sm_120");
        assertArrayEquals(first, image("12.6", SOURCES, "sm_120"));
        assertEquals(List.of(List.of("--std=c++17", "--gpu-architecture=compute_90")), compiled);
        try (Stream<Path> files = Files.list(directory.resolve("kernels"))) {
            assertTrue(files.allMatch(f -> f.toString().endsWith(".ptx")));
        }
        image("12.6", SOURCES, "sm_89");
        assertEquals("--gpu-architecture=sm_89", compiled.get(1).get(1), "an older one is the compiler's to refuse");
    }

    @Test
    void theKernelsShipWithAllThatTheyInclude() {
        KernelSources sources = KernelSources.shipped();
        assertTrue(sources.main().contains("#include \"attention.cu\""));
        assertTrue(sources.headers().get("portable.cuh").contains("cvt.rn.bf16.f32"));
        assertTrue(sources.headers().get("attention.cu").contains("sequenceOf"));
        assertFalse(sources.headers().containsKey("simulation.h"));
    }
}
