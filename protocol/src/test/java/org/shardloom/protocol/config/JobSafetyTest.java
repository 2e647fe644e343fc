package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobSafetyTest {

    @Test
    void tagsAreRefused() {
        String refused = "tags ('!...') are not allowed in a job file";
        assertEquals("job.yaml:5: " + refused, Jobs.refusedWith("workers: !!int 4"));
        assertEquals("job.yaml:5: " + refused, Jobs.refusedWith("tokenizer: !!java.net.URL ['http://localhost']"));
        assertEquals("job.yaml:5: " + refused, Jobs.refusedWith("method: ! {}"));
    }

    @Test
    void anAliasMayRepeatAValue() {
        assertEquals(7, Jobs.with("workers: &n 7\nthreads_per_worker: *n\n").threadsPerWorker());
    }

    @Test
    void aBombOfAliasesIsRefused() {
        StringBuilder bomb = new StringBuilder("method:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for (int i = 1; i < 6; i++) {
            bomb.append("  a%d: &a%d [%s]\n"
                    .formatted(i, i, "*a%d, ".formatted(i - 1).repeat(9)));
        }
        assertTrue(Jobs.refusedWith(bomb.toString()).contains("too large"));
        assertTrue(Jobs.refusedWith("method: {a: &a x, b: [" + "*a, ".repeat(65) + "]}")
                .contains("more than 64 aliases"));
    }

    @Test
    void aValueThatContainsItselfIsRefused() {
        assertTrue(Jobs.refusedWith("method: {a: &a [*a]}")
                .startsWith("job.yaml:5: method.a: the value is nested too deeply"));
        assertTrue(Jobs.refusedWith("train: &t {schedule: *t}")
                .startsWith("job.yaml:5: unknown key 'train.schedule.schedule'"));
    }

    @Test
    void abysmalNestingIsRefused() {
        assertEquals("job.yaml:5: nested more than 32 deep", Jobs.refusedWith("method: {a: " + "[".repeat(100_000)));
    }

    @Test
    void brokenYamlIsReportedWithItsLine() {
        assertTrue(Jobs.refusedWith("train: {seed: 1\nworkers: 2\n").startsWith("job.yaml:6: not valid YAML: "));
        assertTrue(Jobs.refused("a: 1\n---\nb: 1\n").startsWith("job.yaml:2: not valid YAML: "));
        assertTrue(Jobs.refused("a: \u0001\n").startsWith("job.yaml: not valid YAML: "));
        assertEquals(
                "job.yaml:1: expected keys and values, found a list",
                Jobs.refused("- a\n").lines().findFirst().orElseThrow());
    }

    @Test
    void keysMustBeText() {
        assertEquals("job.yaml:5: expected the name of a key, found a list", Jobs.refusedWith("[a]: 1\n"));
    }

    @Test
    void filesThatCannotBeReadAreNamed(@TempDir Path directory) throws IOException {
        Path absent = directory.resolve("absent.yaml");
        assertEquals(absent + ": there is no such file", refusedFile(absent));
        Path binary = Files.write(directory.resolve("binary.yaml"), new byte[] {(byte) 0xff, (byte) 0xfe, 0});
        assertEquals(binary + ": is not UTF-8 text", refusedFile(binary));
        assertTrue(refusedFile(directory).startsWith(directory + ": can't be read"));
    }

    private static String refusedFile(Path file) {
        return assertThrows(JobConfigException.class, () -> JobFile.load(file, List.of()))
                .getMessage();
    }
}
