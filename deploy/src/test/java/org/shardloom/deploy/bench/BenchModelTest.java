package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.config.MethodConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.zero.Placement;

/** A benchmark's step is that of the job it is given. */
class BenchModelTest {
    @TempDir
    private Path directory;

    private BenchModel job(String zero, String method) throws IOException {
        Path file = Bench.tinyJob(directory);
        return BenchModel.of(Files.writeString(
                        file,
                        Files.readString(file).replace("stage: 2", zero).replace("init: random", "init: pretrained")
                                + "method: " + method + "\n")
                .toString());
    }

    @Test
    void methodPlacementAndOrderAreTheJobs() throws IOException {
        BenchModel model =
                job("stage: 3, offload_params: true, fixed_order: false", "{type: lora, rank: 3, targets: all}");
        assertEquals(3, ((TuningMethod.Lora) model.method().tuning()).rank());
        assertEquals(new Placement(true, true), model.engine().placement());
        assertFalse(model.fixedOrder());
        BenchModel resident = job("stage: 3, offload_optimizer: false", "{type: full}");
        assertEquals(new Placement(false, false), resident.engine().placement());
        assertTrue(resident.fixedOrder(), "as runs have it");
    }

    @Test
    void anOptionReplacesTheJobsMethod() throws IOException {
        BenchModel model = job("stage: 3, offload_params: true", "{type: lora, rank: 3}");
        assertEquals(
                MethodConfig.Type.FULL,
                model.with(null, null, null, "full").method().type());
        assertEquals(
                MethodConfig.Type.LORA,
                model.with("bf16", 3, true, null).method().type());
        String message = assertThrows(IllegalArgumentException.class, () -> model.with(null, 2, null, null))
                .getMessage();
        assertTrue(message.contains("zero.offload_params"), message);
        assertEquals(MethodConfig.Type.FULL, BenchModel.S.method().type());
        assertTrue(BenchModel.S.fixedOrder());
    }
}
