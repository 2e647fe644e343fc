package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("instruction-set")
class InstructionSetTest {
    @Test
    void theBestInstructionSetThatTheProcessorHasAndTheEnvironmentAllowsIsUsed() throws IOException {
        String processor = Files.readString(Path.of("/proc/cpuinfo"));
        String flags = processor
                .lines()
                .filter(line -> line.startsWith("flags"))
                .findFirst()
                .orElse("");
        Set<String> has = Set.of(flags.substring(flags.indexOf(':') + 1).trim().split(" "));
        boolean avx512 = has.containsAll(Set.of("avx512f", "avx512bw", "avx512dq", "avx512vl"));
        int best = avx512 && has.containsAll(Set.of("amx_tile", "amx_bf16"))
                ? 3
                : avx512 ? 2 : has.containsAll(Set.of("avx2", "fma", "f16c", "bmi2")) ? 1 : 0;
        int allowed =
                switch (System.getenv().getOrDefault("SHARDLOOM_ISA", "")) {
                    case "baseline" -> 0;
                    case "avx2" -> 1;
                    case "avx512" -> 2;
                    default -> 3;
                };
        int used = NativeCpu.instructionSet();
        // The system may deny a process the tile unit.
        assertTrue(used == Math.min(best, allowed) || (best == 3 && allowed == 3 && used == 2), "used " + used);
    }

    @Test
    void aDtypeThatNativeCodeDoesNotKnowIsAnExceptionAndNotACrash() {
        assertThrows(RuntimeException.class, () -> NativeCpu.convert(0, 7, 0, 0, 0));
    }
}
