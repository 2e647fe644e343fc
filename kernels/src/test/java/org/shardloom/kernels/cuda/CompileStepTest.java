package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The build's step that compiles the kernels by nvcc and fails on spills. */
@Timeout(60)
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

    /** What ptxas says of a kernel; the numbers are of one that ships. */
    private static String said(String kernel, int arch, int spilled, int registers, int shared) {
        return """
                ptxas info    : Compiling entry function '%1$s' for 'sm_%2$d'
                ptxas info    : Function properties for %1$s
                    %3$d bytes stack frame, %3$d bytes spill stores, %4$d bytes spill loads
                ptxas info    : Used %5$d registers, used 1 barriers, %6$d bytes smem, 384 bytes cmem[0]
                ptxas info    : Compile time = 1.849 ms
                """
                .formatted(kernel, arch, spilled, 2 * spilled, registers, shared);
    }

    private record Outcome(int status, String said) {}

    /** The step, with a compiler that says of each architecture what stands in its file. */
    private Outcome step(Path out, String sm80, String sm90) throws Exception {
        Path tools = Files.createDirectories(directory.resolve("tools")), nvcc = tools.resolve("nvcc");
        Files.writeString(tools.resolve("sm_80"), sm80);
        Files.writeString(tools.resolve("sm_90"), sm90);
        Files.writeString(
                nvcc,
                """
                #!/bin/bash
                for argument; do
                    case "$argument" in
                        --list-gpu-arch) printf 'compute_80\\ncompute_90\\n' ;;
                        -arch=sm_*) cat "${0%/*}/${argument#-arch=}" >&2 ;;
                    esac
                done
                """);
        assertTrue(nvcc.toFile().setExecutable(true));
        ProcessBuilder builder =
                new ProcessBuilder("bash", "src/main/cuda/compile.sh", out.toString()).redirectErrorStream(true);
        builder.environment().merge("PATH", tools + ":", (path, first) -> first + path);
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes());
        return new Outcome(process.waitFor(), said);
    }

    @Test
    void kernelsWithoutSpillsAreTabulated() throws Exception {
        Path out = directory.resolve("cuda");
        Outcome outcome = step(
                out,
                said("rms_norm_bf16", 80, 0, 40, 128) + said("attention_bf16", 80, 0, 96, 0),
                said("rms_norm_bf16", 90, 0, 32, 128));
        assertEquals(new Outcome(0, ""), outcome);
        List<List<String>> rows = Files.readAllLines(out.resolve("kernels.txt")).stream()
                .map(line -> List.of(line.split(" +")))
                .toList();
        // 48 of 64 warps have registers, 40 * 32 each; attention's blocks are of one warp.
        assertEquals(
                List.of(
                        List.of("attention_bf16", "sm_80", "96", "0", "1152", "32", "0", "20", "31%", "registers"),
                        List.of("rms_norm_bf16", "sm_80", "40", "128", "0", "256", "0", "6", "75%", "registers"),
                        List.of("rms_norm_bf16", "sm_90", "32", "128", "0", "256", "0", "8", "100%", "warps")),
                rows.subList(1, rows.size()));
    }

    @Test
    void aKernelThatSpillsFailsTheBuildInALineThatNamesIt() throws Exception {
        Path out = directory.resolve("cuda");
        String sound = said("rms_norm_bf16", 90, 0, 32, 128);
        Outcome outcome = step(
                out,
                said("add_f32", 80, 0, 10, 0) + said("rms_norm_bf16", 80, 8, 255, 128) + said("add_bf16", 80, 0, 10, 0),
                sound);
        assertEquals(
                new Outcome(1, "ERROR: these kernels spill registers: rms_norm_bf16 for sm_80 (24 bytes)\n"), outcome);
        assertFalse(Files.exists(out.resolve("kernels.txt")), "the next build looks again");
        assertEquals(1, step(out, said("rms_norm_bf16", 80, 8, 255, 128), sound).status());
        assertEquals(0, step(out, said("rms_norm_bf16", 80, 0, 255, 128), sound).status());
    }

    @Test
    void aKernelWhoseBlocksFindNoRoomFailsTheBuild() throws Exception {
        Outcome outcome = step(
                directory.resolve("cuda"),
                said("rms_norm_bf16", 80, 0, 32, 180_000),
                said("rms_norm_bf16", 90, 0, 32, 180_000));
        assertEquals(
                new Outcome(
                        1,
                        "ERROR: a multiprocessor has no room for a block of these kernels: rms_norm_bf16 for sm_80\n"),
                outcome);
    }
}
