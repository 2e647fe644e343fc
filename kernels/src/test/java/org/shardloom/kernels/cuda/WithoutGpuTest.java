package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What {@code mvn verify -Pgpu} comes to on a host without a GPU. */
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
                .redirectErrorStream(true);
        builder.environment().put("CUDA_VISIBLE_DEVICES", ""); // nor where there is one
        Process process = builder.start();
        List<String> output =
                new String(process.getInputStream().readAllBytes()).lines().toList();
        assertEquals(0, process.waitFor(), output.toString());
        int end = output.size();
        assertEquals("0 failed", output.get(end - 2), output.toString());
        String skipped = output.get(end - 1);
        assertTrue(Integer.parseInt(skipped.replace(" skipped", "")) > 50, skipped);
    }
}
