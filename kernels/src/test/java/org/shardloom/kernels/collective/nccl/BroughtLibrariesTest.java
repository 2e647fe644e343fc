package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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

/** A host that has the driver alone, and CUDA's other libraries on the class path, as profile cuda-redist puts them. They are simulated here. */
@Timeout(60)
class BroughtLibrariesTest {
    private static final List<String> BROUGHT = List.of(
            "libcudart.so.12",
            "libcublas.so.12",
            "libcublasLt.so.12",
            "libnvrtc.so.12",
            "libnvrtc-builtins.so.12.6",
            "libnccl.so.2");

    @TempDir
    private Path directory;

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void allButTheDriverComesFromTheClassPath(boolean brought) throws Exception {
        Path all = Path.of(System.getProperty("shardloom.cuda.simulation")).toAbsolutePath();
        Path libraries = Files.createDirectory(directory.resolve("libraries"));
        Files.createSymbolicLink(libraries.resolve("libcuda.so.1"), all.resolve("libcuda.so.1"));
        Path classPath = Files.createDirectories(directory.resolve("classes/org/bytedeco/cuda/linux-x86_64"));
        for (String name : brought ? BROUGHT : List.<String>of()) {
            Files.copy(all.resolve(name), classPath.resolve(name));
        }
        Process process = SimulatedProcess.of(
                        directory,
                        MissingLibraryMain.class,
                        Map.of(
                                "LD_LIBRARY_PATH",
                                libraries.toString(),
                                "JDK_JAVA_OPTIONS",
                                "-Dorg.bytedeco.javacpp.cachedir=" + directory.resolve("cache")),
                        directory.resolve("kernels").toString())
                .start();
        String output = new String(process.getInputStream().readAllBytes());
        int status = process.waitFor();
        if (brought) {
            assertEquals(0, status, output);
            assertTrue(output.endsWith("joined\njoined\n"), output);
        } else {
            assertTrue(status != 0 && output.contains("libcublas.so.12: cannot open shared object file"), output);
            assertFalse(output.contains("joined"), output);
        }
    }
}
