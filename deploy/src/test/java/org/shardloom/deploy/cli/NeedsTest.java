package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.launch.Run;
import org.shardloom.deploy.quickstart.QuickstartFiles;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;

/** What start.sh asks of this host before it starts a job. */
class NeedsTest {
    @TempDir
    Path directory;

    private Path job;
    private DecoderConfig model;

    @BeforeEach
    void writeAJob() throws IOException {
        QuickstartFiles files = QuickstartFiles.create(directory, 1);
        job = files.job();
        model = ModelConfigReader.read(files.model());
    }

    private List<String> ask(boolean severalHosts, String... settings) throws Run.RunException {
        List<String> given = List.of(settings);
        return Needs.requireFit(job, given, JobFile.load(job, given), model, severalHosts);
    }

    @Test
    void theQuickstartFitsAndNothingIsSaid() throws Exception {
        assertEquals(List.of(), ask(false));
    }

    @Test
    void aJobForGpusIsRefusedWhereThereIsNoDriver() {
        Assumptions.assumeFalse(Files.exists(Path.of("/dev/nvidiactl")), "there are GPUs");
        String line = assertThrows(Run.RunException.class, () -> ask(false, "device=cuda"))
                .getMessage();
        assertTrue(line.startsWith("no NVIDIA driver: libcuda.so.1: "), line);
        assertTrue(line.endsWith("; install NVIDIA's driver 525 or newer, or set device: cpu"), line);
        assertEquals(1, line.lines().count());
    }

    /** Twenty thousand workers have room nowhere. */
    @Test
    void aJobThatCannotFitIsRefusedWithTheChangeThatFits() {
        String line = assertThrows(
                        Run.RunException.class,
                        () -> ask(false, "workers=20000", "train.global_batch_size=20000", "train.micro_batch_size=1"))
                .getMessage();
        assertTrue(line.startsWith("the job needs at least "), line);
        assertTrue(line.contains("(20000 workers of 0."), line);
        assertTrue(line.contains("it would fit with --set workers="), line);
    }

    @Test
    void memoryOfOtherHostsIsNotAsked() throws Exception {
        assertEquals(
                List.of(),
                ask(true, "workers=20000", "train.global_batch_size=20000", "train.micro_batch_size=1").stream()
                        .filter(line -> line.contains("memory"))
                        .filter(line -> !line.contains("/dev/shm"))
                        .toList());
    }
}
