package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cuda.SimulatedProcess;

/** Hosts where a library that NCCL's binding needs is not installed; each is told in one line, every time. */
@Timeout(60)
class MissingLibraryTest {
    @TempDir
    private Path directory;

    @ParameterizedTest
    @ValueSource(strings = {"libnccl.so.2", "libcudart.so.12", "none"})
    void aMissingLibraryIsNamed(String missing) throws Exception {
        Path libraries = Files.createDirectory(directory.resolve("libraries"));
        Path all = Path.of(System.getProperty("shardloom.cuda.simulation")).toAbsolutePath();
        for (String name :
                List.of("libcuda.so.1", "libcudart.so.12", "libnccl.so.2", "libcublas.so.12", "libnvrtc.so.12")) {
            if (!name.equals(missing)) {
                Files.createSymbolicLink(libraries.resolve(name), all.resolve(name));
            }
        }
        Process process = SimulatedProcess.of(
                        directory,
                        MissingLibraryMain.class,
                        Map.of(
                                "LD_LIBRARY_PATH",
                                libraries.toString(),
                                // As in a process whose memory has long outgrown its heap.
                                "JDK_JAVA_OPTIONS",
                                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=1m"),
                        directory.resolve("kernels").toString())
                .start();
        List<String> output = new String(process.getInputStream().readAllBytes())
                .lines()
                .filter(line -> !line.startsWith("Warning: Versions of org.bytedeco") && !line.startsWith("NOTE: "))
                .toList();
        assertEquals(0, process.waitFor(), output.toString());
        assertEquals(2, output.size(), output.toString());
        assertEquals(output.get(0), output.get(1));
        if (missing.equals("none")) {
            assertEquals("joined", output.get(0));
        } else {
            assertTrue(output.get(0).startsWith("rank 0: there is no NCCL: "), output.get(0));
            assertTrue(output.get(0).contains(missing + ": cannot open shared object file"), output.get(0));
        }
    }
}
