package org.shardloom.kernels.cuda;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** JVMs of their own that find the simulated libraries where the real ones would be, on LD_LIBRARY_PATH, and have no classes for tests. */
public final class SimulatedProcess {
    private SimulatedProcess() {}

    /**
     * How to start the main class: the product's classes, and of the tests' that one alone.
     *
     * @param directory for the class, the JVM's temporary files and its output
     * @param environment on top of the path to the simulation
     */
    public static ProcessBuilder of(
            Path directory, Class<?> main, Map<String, String> environment, String... arguments) {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-opens",
                "java.base/jdk.internal.misc=ALL-UNNAMED",
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData",
                "-Djava.io.tmpdir=" + directory,
                "-cp",
                productClasses() + File.pathSeparator + copy(main, directory.resolve("classes")),
                main.getName()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment()
                .put(
                        "LD_LIBRARY_PATH",
                        Path.of(System.getProperty("shardloom.cuda.simulation"))
                                .toAbsolutePath()
                                .toString());
        builder.environment().putAll(environment);
        return builder;
    }

    private static String productClasses() {
        String all = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
        return Arrays.stream(all.split(File.pathSeparator))
                .filter(entry -> !entry.contains("test-classes") && !entry.contains("junit"))
                .collect(Collectors.joining(File.pathSeparator));
    }

    private static Path copy(Class<?> main, Path to) {
        String name = main.getName().replace('.', '/') + ".class";
        try (InputStream bytes = main.getResourceAsStream("/" + name)) {
            Path file = to.resolve(name);
            if (!Files.exists(file)) {
                Files.createDirectories(file.getParent());
                Files.write(file, bytes.readAllBytes());
            }
            return to;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
