package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.SimulatedGpus;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.deploy.launch.JavaCommand;

/** The command in processes that find the simulated driver where a GPU's would be. No GPU takes part. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class GenerateOnGpuTest {
    @TempDir
    Path directory;

    /** Status, and what was written to standard output and standard error. */
    private record Result(int status, String output, String error) {}

    /** A process with so many GPUs of that memory; fails where the simulation has found a fault. */
    private Result run(int devices, long bytes, String... flags) throws Exception {
        List<String> command = new ArrayList<>(JavaCommand.of("generate"));
        // Locks of GPUs are there.
        command.replaceAll(c -> c.startsWith("-Djava.io.tmpdir=") ? "-Djava.io.tmpdir=" + directory : c);
        command.addAll(List.of(
                "--model", TinyJob.shared("fixtures/stories260k").toString(),
                "--template", "plain",
                "--prompt", "The sun was",
                "--max-new-tokens", "32"));
        command.addAll(List.of(flags));
        Path out = directory.resolve("out"), error = directory.resolve("error"), report = directory.resolve("report");
        Files.deleteIfExists(report);
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(error.toFile());
        SimulatedGpus.of(builder.environment(), devices, report, directory.resolve("cache"));
        builder.environment().put("SHARDLOOM_SIM_BYTES", String.valueOf(bytes));
        Process process = builder.start();
        try {
            assertTrue(process.waitFor(100, TimeUnit.SECONDS), "it ends");
        } finally {
            process.destroyForcibly();
        }
        if (devices > 0) {
            List<String> lines = Files.readAllLines(report);
            assertTrue(lines.stream().allMatch(line -> line.contains(" end: 0 faults")), lines.toString());
        }
        return new Result(process.exitValue(), Files.readString(out), Files.readString(error));
    }

    @Test
    void aGpuIsUsedWhereThereIsOneAndContinuesAsTheReferenceDoes() throws Exception {
        Result found = run(1, 1 << 30);
        assertEquals(0, found.status, found.error);
        // The 32 tokens of reference.json.
        assertEquals("shining and the sky was very shiny. It was a big, shiny ball. The sk\n", found.output);
        String report = Files.readString(directory.resolve("report"));
        assertTrue(report.matches("(?s).* peak [1-9].*"), report);
    }

    @Test
    void aGpuThatIsTooSmallIsRefusedBeforeTheModelIsLoaded() throws Exception {
        Result found = run(1, 1_000_000, "--device", "cuda", "--dtype", "fp32");
        assertEquals(1, found.status, found.error);
        assertEquals(1, found.error.lines().count(), found.error);
        assertTrue(
                found.error.contains(" of the GPU's memory in fp32 (1.") && found.error.contains("--device cpu"),
                found.error);
    }

    @Test
    void withoutAGpuTheProcessorsComputeUnlessAGpuIsAskedFor() throws Exception {
        Result found = run(0, 0, "--device", "cuda");
        assertEquals(1, found.status, found.error);
        assertTrue(found.error.contains("shows no GPU"), found.error);
        assertEquals("shining and the sky was very shiny. It was a big, shiny ball. The sk\n", run(0, 0).output);
    }
}
