package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The product's own JVM over the simulation, set up by the environment alone. */
@Timeout(60)
class SimulatedProcessTest {
    @TempDir
    private Path directory;

    @Test
    void processesThatStartAtOnceEachSeeTheirDevicesAndReportWhenTheyEnd() throws Exception {
        List<Process> processes = new ArrayList<>();
        for (int device = 0; device < 3; device++) {
            processes.add(start("" + device, device == 2 ? "untidy" : "tidy"));
        }
        for (Process process : processes) {
            String output = new String(process.getInputStream().readAllBytes());
            assertEquals(0, process.waitFor(), output);
            assertEquals("cuda:0 2.0 4.0 6.0\n", output);
        }
        assertEquals(List.of("end: 0 faults, device 0 peak 2097152 bytes"), reports(processes.get(0)));
        assertEquals(List.of("end: 0 faults, device 1 peak 2097152 bytes"), reports(processes.get(1)));
        List<String> untidy = reports(processes.get(2));
        assertEquals(2, untidy.size(), untidy.toString());
        assertEquals("leak: 2097152 bytes of device 2", untidy.get(0));
        assertTrue(untidy.get(1).startsWith("end: 1 faults"), untidy.toString());
    }

    @Test
    void aDeviceThatIsNotThereIsRefused() throws Exception {
        Process process = start("7", "tidy");
        String output = new String(process.getInputStream().readAllBytes());
        assertEquals(1, process.waitFor(), output);
        assertTrue(output.contains("cuda:0: cuInit(0) returned 100, CUDA_ERROR_NO_DEVICE"), output);
    }

    private static String uuid(int device) {
        return "GPU-73696d75-6c61-7465-6420-47505520200" + device;
    }

    /** Which device, whatever ordinal the process sees it by, a worker gets that may see these and asks for that. */
    private String claimed(String visible, String choice) throws Exception {
        Process process = start(visible, "tidy", choice);
        String output = new String(process.getInputStream().readAllBytes());
        return process.waitFor() == 0
                ? output.lines().findFirst().orElseThrow() + " on "
                        + reports(process).get(0).replaceAll(".*(device \\d) peak [1-9].*", "$1")
                : output;
    }

    @Test
    void aWorkerGetsTheGpuThatItsUuidNames() throws Exception {
        assertEquals("cuda:0 2.0 4.0 6.0 on device 2", claimed(uuid(2), ""));
        assertEquals("cuda:0 2.0 4.0 6.0 on device 1", claimed(uuid(1) + ",0", ""));
        assertEquals("cuda:1 2.0 4.0 6.0 on device 0", claimed(uuid(1) + ",0", "1"));
        assertEquals("cuda:1 2.0 4.0 6.0 on device 1", claimed("2," + uuid(1), uuid(1)));
        String hidden = claimed("2," + uuid(1), uuid(0));
        assertTrue(hidden.contains("no GPU '" + uuid(0) + "'; the driver shows [0 (" + uuid(2) + "), 1 ("), hidden);
    }

    @Test
    void aUuidThatNamesNoDeviceOrSeveralEndsTheList() throws Exception {
        for (String entry : List.of(uuid(7), "GPU-7369", "gpu", "1x")) {
            String none = claimed(entry + ",0", "");
            assertTrue(none.contains("shows no GPU (CUDA_VISIBLE_DEVICES is '" + entry + ",0')"), none);
            assertEquals("cuda:0 2.0 4.0 6.0 on device 1", claimed("1," + entry + ",0", ""));
        }
    }

    private Process start(String visible, String... arguments) throws IOException {
        Map<String, String> environment = Map.of(
                "SHARDLOOM_SIM_DEVICES",
                "3",
                "SHARDLOOM_SIM_BYTES",
                "" + (1 << 24),
                "SHARDLOOM_SIM_SEED",
                "5",
                "SHARDLOOM_SIM_DELAY_MICROS",
                "500",
                "SHARDLOOM_SIM_REPORT",
                directory.resolve("reports").toString(),
                "CUDA_VISIBLE_DEVICES",
                visible);
        List<String> all = new ArrayList<>(List.of(directory.resolve("kernels").toString()));
        all.addAll(List.of(arguments));
        return SimulatedProcess.of(directory, SimulatedProcessMain.class, environment, all.toArray(String[]::new))
                .start();
    }

    private List<String> reports(Process process) throws IOException {
        String pid = process.pid() + " ";
        return Files.readAllLines(directory.resolve("reports")).stream()
                .filter(line -> line.startsWith(pid))
                .map(line -> line.substring(pid.length()))
                .toList();
    }
}
