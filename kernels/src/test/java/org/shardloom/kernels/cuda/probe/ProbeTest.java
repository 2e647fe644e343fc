package org.shardloom.kernels.cuda.probe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Over the simulated driver and NVML, in processes whose environment brings the faults. No GPU takes part. */
@Timeout(60)
class ProbeTest {
    private static final Path SIMULATION =
            Path.of(System.getProperty("shardloom.cuda.simulation")).toAbsolutePath();

    @TempDir
    static Path directory;

    private static Path driverOnly;

    @BeforeAll
    static void leaveNvmlOut() throws Exception {
        driverOnly = Files.createDirectory(directory.resolve("driver-only"));
        Files.createSymbolicLink(driverOnly.resolve("libcuda.so.1"), SIMULATION.resolve("libcuda.so.1"));
    }

    private static List<String> with(Path libraries, String... settings) throws Exception {
        Map<String, String> environment =
                new HashMap<>(Map.of("SHARDLOOM_SIM_DEVICES", "2", "SHARDLOOM_SIM_BYTES", String.valueOf(8L << 30)));
        for (String setting : settings) {
            String[] parts = setting.split("=", 2);
            environment.put(parts[0], parts[1]);
        }
        return ProbeProcess.lines(libraries, environment);
    }

    private static String line(List<String> lines, String start) {
        return lines.stream().filter(l -> l.startsWith(start)).findFirst().orElseThrow(() -> new AssertionError(lines));
    }

    private static void says(String line, String... words) {
        for (String word : words) {
            assertTrue(line.contains(word), "'" + word + "' in: " + line);
        }
    }

    @Test
    void aHostWithoutAnythingOfNvidiasIsSaidInOneLineEach() throws Exception {
        List<String> lines = with(Files.createDirectories(directory.resolve("empty")));
        assertEquals(7, lines.size(), lines.toString());
        says(line(lines, "Driver["), "no NVIDIA driver: libcuda.so.1: cannot open shared object file");
        says(line(lines, "Nvml["), "libnvidia-ml.so.1: cannot open shared object file");
        says(line(lines, "Nccl["), "libnccl.so.2: cannot open shared object file");
        for (String file : List.of("libcublas.so.12", "libnvrtc.so.12", "libcudart.so.12")) {
            says(line(lines, "CudaLibrary[file=" + file), file + ": cannot open shared object file");
        }
    }

    @Test
    void devicesAndTheirStateBelongTogether() throws Exception {
        List<String> lines = with(
                SIMULATION,
                "SHARDLOOM_SIM_NVML_PROCESSES=4242:1073741824,77:5",
                "SHARDLOOM_SIM_NVML_LINKS=4",
                "SHARDLOOM_SIM_NVML_THROTTLE=0x45");
        says(
                line(lines, "Driver["),
                "Driver[problem=Optional.empty, version=12060",
                "ordinal=0",
                "ordinal=1",
                "totalBytes=8589934592",
                "major=8, minor=0",
                "pciBusId=0000:02:00.0");
        says(
                line(lines, "0 is"),
                "index=0",
                "GPU-73696d75-6c61-7465-6420-475055202000",
                "pid=4242, name=program-4242, bytes=OptionalLong[1073741824]",
                "freeBytes=OptionalLong[" + ((8L << 30) - (1L << 30) - 5) + "]",
                "links=4",
                "POWER_LIMIT",
                "HARDWARE_THERMAL",
                "ecc=Optional[true]",
                "uncorrectedErrors=OptionalLong[0]");
        says(line(lines, "1 is"), "index=1", "freeBytes=OptionalLong[8589934592]", "processes=[]", "OptionalInt[41]");
    }

    /** Not taken for a GPU of compute capability 0.0. */
    @Test
    void whatTheDriverDoesNotTellOfAGpuIsSaid() throws Exception {
        says(
                line(with(SIMULATION, "SHARDLOOM_SIM_FAIL_ATTRIBUTE=75"), "Driver["),
                "GPU 0 does not work: cuDeviceGetAttribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) returned 999",
                "gpus=[]");
    }

    @Test
    void aDriverWithoutNvmlStillShowsItsDevices() throws Exception {
        List<String> lines = with(driverOnly);
        says(line(lines, "Driver["), "problem=Optional.empty", "ordinal=1");
        says(line(lines, "Nvml["), "libnvidia-ml.so.1: cannot open shared object file");
        says(line(lines, "0 is"), "Optional.empty");
    }

    @Test
    void aHostWithoutTheCudaRuntimeIsToldSo() throws Exception {
        Path bare = Files.createDirectory(directory.resolve("bare"));
        for (String name : List.of("libcuda.so.1", "libnvidia-ml.so.1")) {
            Files.createSymbolicLink(bare.resolve(name), SIMULATION.resolve(name));
        }
        says(line(with(bare), "Nvml["), "libcudart.so.12: cannot open shared object file");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "SHARDLOOM_SIM_NVML_INIT=9|nvmlInit returned 9, Driver Not Loaded",
                "SHARDLOOM_SIM_NVML_INIT=18|nvmlInit returned 18, Driver/library version mismatch",
                "SHARDLOOM_SIM_NVML_HANG=1|NVML has not answered for 2 s",
                "SHARDLOOM_SIM_NVML_LOST=1|returned 15, GPU is lost",
                "SHARDLOOM_SIM_NVML_ECC_ERRORS=3|uncorrectedErrors=OptionalLong[3]",
                "SHARDLOOM_SIM_NVML_ECC_ERRORS=-1|ecc=Optional.empty, uncorrectedErrors=OptionalLong.empty",
                "SHARDLOOM_SIM_NVML_EXCLUSIVE=1|oneProcessOnly=true"
            })
    void faultsOfNvmlAreToldAndLeaveTheDriverAlone(String fault, String words) throws Exception {
        List<String> lines = with(SIMULATION, fault);
        says(line(lines, "Nvml["), words);
        says(line(lines, "Driver["), "problem=Optional.empty", "ordinal=1");
    }

    /** The library of an old driver: what it lacks would end the process if it were called. */
    @Test
    void anNvmlThatLacksFunctionsIsNotCalled() throws Exception {
        Path old = Files.createDirectories(directory.resolve("old"));
        Path source = Files.writeString(old.resolve("old.c"), "int nvmlInit_v2(void) { return 0; }\n");
        Process compiler = new ProcessBuilder(
                        "gcc",
                        "-shared",
                        "-fPIC",
                        "-Wl,-soname,libnvidia-ml.so.1",
                        "-o",
                        old.resolve("libnvidia-ml.so.1").toString(),
                        source.toString())
                .inheritIO()
                .start();
        assertEquals(0, compiler.waitFor());
        String line = line(with(old), "Nvml[");
        says(line, "libnvidia-ml.so.1 is too old: it has no nvmlShutdown, ");
        assertFalse(line.contains("nvmlInit_v2"), line);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "SHARDLOOM_SIM_DRIVER_VERSION=11080|the NVIDIA driver is too old: it is made for CUDA 11.8, and 12.0 is needed",
                "SHARDLOOM_SIM_INIT=100|the NVIDIA driver shows no GPU",
                "SHARDLOOM_SIM_INIT=803|the NVIDIA driver does not work: cuInit returned 803, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
            })
    void aDriverThatIsOfNoUseIsSaidInOneLine(String fault, String words) throws Exception {
        says(line(with(SIMULATION, fault), "Driver["), words);
    }

    @Test
    void versionsAreWrittenAsPeopleDo() {
        assertEquals("2.23.4", Nccl.text(22304));
        assertEquals("12.6", Driver.text(12060));
        assertEquals("0000:0a:00.0", Gpu.sameForm("00000000:0A:00.0"));
    }
}
