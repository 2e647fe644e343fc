package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What {@code mvn verify -Pgpu} comes to in this module on a host without a GPU. */
@Timeout(120)
class WithoutGpuTest {
    @TempDir
    private Path directory;

    @Test
    void testsThatNeedAGpuAreSkippedAndNoneFails() throws Exception {
        ProcessBuilder builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-D" + GpuTier.DRIVER + "=" + GpuTier.REAL,
                        "-Dshardloom.cuda.simulation=" + System.getProperty("shardloom.cuda.simulation"),
                        "-Djava.io.tmpdir=" + directory,
                        "-XX:-UsePerfData",
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                        WithoutGpuMain.class.getName())
                .redirectErrorStream(true)
                .redirectOutput(directory.resolve("output").toFile());
        builder.environment().put("CUDA_VISIBLE_DEVICES", ""); // nor where there is one
        Process process = builder.start();
        try {
            assertTrue(process.waitFor(100, TimeUnit.SECONDS), "it hangs");
        } finally {
            process.destroyForcibly();
        }
        List<String> output = Files.readAllLines(directory.resolve("output"));
        assertEquals(0, process.exitValue(), output.toString());
        int end = output.size();
        assertEquals("0 failed", output.get(end - 2), output.toString());
        String skipped = output.get(end - 1);
        assertTrue(Integer.parseInt(skipped.replace(" skipped", "")) > 50, skipped);
    }
}
