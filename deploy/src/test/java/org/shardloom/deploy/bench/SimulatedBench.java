package org.shardloom.deploy.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.shardloom.deploy.SimulatedGpus;
import org.shardloom.deploy.launch.JavaCommand;

/** The command in a process that finds the simulated driver where a GPU's would be. No GPU takes part, and no time that it prints means anything. */
final class SimulatedBench {
    private SimulatedBench() {}

    /** What the command prints; fails where it does, or where the simulation has found a fault. */
    static JsonNode run(Path directory, int devices, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(JavaCommand.of("bench"));
        command.addAll(List.of(arguments));
        command.add("--json");
        Path out = directory.resolve("out"), error = directory.resolve("error"), report = directory.resolve("report");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(error.toFile());
        SimulatedGpus.of(builder.environment(), devices, report, directory.resolve("cache"));
        Process process = builder.start();
        try {
            if (!process.waitFor(100, TimeUnit.SECONDS) || process.exitValue() != 0) {
                throw new AssertionError("bench did not end well: " + Files.readString(error));
            }
        } finally {
            process.destroyForcibly();
        }
        List<String> faults = Files.exists(report) ? Files.readAllLines(report) : List.of();
        if (faults.isEmpty() || faults.stream().anyMatch(line -> !line.contains(" end: 0 faults"))) {
            throw new AssertionError("the simulation reports: " + faults);
        }
        return new ObjectMapper().readTree(out.toFile());
    }
}
