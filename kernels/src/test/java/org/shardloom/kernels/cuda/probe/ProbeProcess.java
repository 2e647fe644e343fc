package org.shardloom.kernels.cuda.probe;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A look in a process of its own, whose environment says what is there: libraries of NVIDIA's are looked for once a process. */
final class ProbeProcess {
    private static final Duration LIMIT = Duration.ofSeconds(2);

    private ProbeProcess() {}

    public static void main(String[] arguments) {
        Driver driver = DriverProbe.look(LIMIT);
        System.out.println(driver);
        Nvml nvml = NvmlProbe.look(LIMIT);
        System.out.println(nvml);
        driver.gpus().forEach(gpu -> System.out.println(gpu.ordinal() + " is " + nvml.of(gpu)));
        System.out.println(NcclProbe.look(LIMIT));
        CudaLibrariesProbe.look(LIMIT).forEach(System.out::println);
        System.out.println("alive");
        System.exit(0);
    }

    /** What the process says, line by line; it must come to its end. */
    static List<String> lines(Path libraries, Map<String, String> environment) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                ProbeProcess.class.getName()));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        builder.environment().put("LD_LIBRARY_PATH", libraries.toString());
        Process process = builder.start();
        List<String> lines = new String(process.getInputStream().readAllBytes())
                .lines()
                // JavaCPP's remark on versions
                .filter(line -> !line.startsWith("Warning: Versions of"))
                .toList();
        if (!process.waitFor(30, TimeUnit.SECONDS) || process.exitValue() != 0 || !lines.contains("alive")) {
            process.destroyForcibly();
            throw new AssertionError("the process did not come to its end:\n" + String.join("\n", lines));
        }
        return lines;
    }
}
