package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The build's step that compiles the kernels by nvcc and fails on spills. */
@Timeout(30)
class CompileStepTest {
    @TempDir
    private Path directory;

    @Test
    void aBuildWithoutTestsSaysThatNobodyLookedForSpills() throws Exception {
        Path out = directory.resolve("cuda");
        Process process = new ProcessBuilder("bash", "src/main/cuda/compile.sh", out.toString(), "true")
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes());
        assertEquals(0, process.waitFor(), said);
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.startsWith("WARNING: ") && said.contains("spills: -DskipTests"), said);
        assertFalse(Files.exists(out));
        String pom = Files.readString(Path.of("pom.xml"));
        String step = pom.substring(pom.indexOf("<id>cuda-kernels</id>"), pom.indexOf("<id>cuda-simulation</id>"));
        assertTrue(step.contains("<argument>${skipTests}</argument>") && !step.contains("<skip>"), step);
    }
}
