package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Asks the libraries that read our files elsewhere, on machines that have them. */
final class Python {
    private Python() {}

    /**
     * What a script prints; empty, after a loud line, where python3 or one of the modules is missing.
     *
     * @param modules that the script imports
     */
    static Optional<String> run(List<String> modules, String script, String... arguments) throws Exception {
        for (String module : modules) {
            if (!succeeds("python3", "-c", "import " + module)) {
                System.err.println("*** SKIPPED: no python3 with " + String.join(", ", modules)
                        + " here to read what was written ***");
                return Optional.empty();
            }
        }
        List<String> command = new ArrayList<>(List.of("python3", "-c", script));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        String errors = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), errors);
        return Optional.of(output.strip());
    }

    private static boolean succeeds(String... command) throws InterruptedException {
        try {
            Process process =
                    new ProcessBuilder(command).redirectErrorStream(true).start();
            process.getInputStream().readAllBytes();
            return process.waitFor() == 0;
        } catch (IOException e) {
            return false;
        }
    }
}
