package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.protocol.config.MethodConfig;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.ZeroEngine;

/** What a run with LoRA keeps of the larger benchmark model: its adapters with their moments, and nothing of the model. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class LoraCheckpointTest {
    private static final int TOKENS = 16;

    @TempDir
    Path directory;

    @Test
    void aCheckpointOfTheLargerModelWithDefaultAdaptersIsUnderTenMegabytes() throws Exception {
        BenchModel m = BenchModel.M;
        TunedModel tuned = Tuning.of(m.decoder(), new MethodConfig(MethodConfig.Type.LORA, Map.of()).tuning());
        long trained =
                tuned.trained().stream().mapToLong(UnitSpec::parameterCount).sum();
        EngineConfig config =
                new EngineConfig(m.dtype(), m.stage(), true, m.optimizer(), m.maxGradNorm(), m.sequence());
        Path checkpoint = directory.resolve("checkpoint-1");
        try (CpuDevice device = new CpuDevice(Runtime.getRuntime().availableProcessors());
                ZeroEngine engine = new ZeroEngine(tuned, config, device, new LocalCollectives())) {
            StartWeights.fillAll(
                    new ModelConfigSource(directory, ModelConfigSource.Init.RANDOM, Optional.empty()), 1, engine);
            engine.publishMaster();
            engine.step(new StepInput(List.of(batch()), List.of((double) TOKENS), 1, 1e-3));
            CheckpointRounds.save(directory, engine.plan(), engine.optimizer(), 10_000_000);
        }
        long bytes = 0;
        try (Stream<Path> files = Files.list(checkpoint)) {
            for (Path file : files.toList()) {
                bytes += Files.size(file);
            }
        }
        assertTrue(bytes < 10_000_000, bytes + " bytes");
        // Rank 8 at query_key_value [1280, 1024] and dense [1024, 1024] of twelve layers; a weight and two moments
        // each.
        assertEquals(12 * 8 * (1280 + 1024 + 1024 + 1024), trained);
        assertTrue(bytes >= 12 * trained, bytes + " bytes for " + trained + " parameters");
        try (Checkpoint read = Checkpoint.open(checkpoint, true)) {
            assertEquals(tuned.trained().size(), read.manifest().getUnitsCount());
        }
    }

    private static PackedBatch batch() {
        int[] ids = IntStream.range(0, TOKENS).map(t -> 100 + 7 * t).toArray();
        return new PackedBatch(
                ids,
                IntStream.range(0, TOKENS).toArray(),
                new int[] {0, TOKENS},
                IntStream.range(0, TOKENS).toArray(),
                ids);
    }
}
