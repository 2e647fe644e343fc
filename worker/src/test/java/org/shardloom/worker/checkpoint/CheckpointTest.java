package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.protocol.plan.UnitSize;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.TinyTrainer;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Checkpoints of any world size, read by any other; and what becomes of damaged ones. */
@Timeout(value = 90, unit = TimeUnit.SECONDS)
class CheckpointTest {
    private static final int SAVED_AFTER = 3;

    @TempDir
    Path directory;

    /** Trains a few steps, saves, and goes on: the state when saved, and the losses that follow. */
    private record Run(float[][][] state, List<Double> losses, ShardPlan plan) {}

    private Run save(int world, Sharding sharding) throws Exception {
        List<Double> losses = new ArrayList<>();
        ShardPlan[] plan = new ShardPlan[1];
        ShardFiles.Written[] written = new ShardFiles.Written[world];
        List<float[][][]> states = Ranks.run(world, (rank, group) -> {
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW)) {
                for (int step = 1; step <= SAVED_AFTER; step++) {
                    trainer.accumulated(step);
                }
                float[][][] state = trainer.state();
                written[rank] = ShardFiles.write(directory, trainer.engine.plan(), rank, trainer.engine.optimizer());
                for (int step = SAVED_AFTER + 1; step <= SAVED_AFTER + 4; step++) {
                    StepLosses.add(rank, losses, trainer.accumulated(step).loss());
                }
                if (rank == 0) {
                    plan[0] = trainer.engine.plan();
                }
                return state;
            }
        });
        String config = Files.readString(SharedFixtures.tinyChatglm3().resolve("config.json"));
        Saved.manifest(directory, plan[0], state(), config, List.of(written));
        return new Run(TinyTrainer.whole(states), losses, plan[0]);
    }

    private static TrainingState state() {
        return new TrainingState(SAVED_AFTER, SAVED_AFTER, 0, 0, new GuardState(30, 1.5, 0.25, -1, -2, 3, 1));
    }

    /** Keeps rank 0's losses. */
    private static final class StepLosses {
        static void add(int rank, List<Double> losses, double loss) {
            if (rank == 0) {
                losses.add(loss);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void whatAnyRanksSaveAnyRanksLoadBitForBitAndGoOnWith(int saving) throws Exception {
        Run run = save(saving, Sharding.ZERO_3_IN_PLACE);
        for (int loading = 1; loading <= 4; loading++) {
            Sharding sharding = Sharding.values()[loading % 3];
            List<Double> losses = new ArrayList<>();
            List<float[][][]> states = Ranks.run(loading, (rank, group) -> {
                try (Checkpoint checkpoint = Checkpoint.open(directory, true);
                        TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, false, TinyModel.ADAMW)) {
                    checkpoint.load(trainer.engine.plan(), rank, trainer.engine.optimizer());
                    assertEquals(state(), checkpoint.state());
                    trainer.engine.optimizer().restoreUpdates(checkpoint.state().updates());
                    trainer.engine.publishMaster();
                    float[][][] state = trainer.state();
                    for (int step = SAVED_AFTER + 1; step <= SAVED_AFTER + 4; step++) {
                        StepLosses.add(rank, losses, trainer.accumulated(step).loss());
                    }
                    return state;
                }
            });
            float[][][] whole = TinyTrainer.whole(states);
            for (int u = 0; u < whole.length; u++) {
                for (Part part : Part.values()) {
                    assertArrayEquals(
                            run.state[u][part.ordinal()],
                            whole[u][part.ordinal()],
                            saving + " to " + loading + ", unit " + u + " " + part);
                }
            }
            for (int i = 0; i < losses.size(); i++) {
                assertEquals(run.losses.get(i), losses.get(i), 2e-6, saving + " to " + loading + ", step " + i);
            }
        }
    }

    @Test
    void aUnitIsReadAcrossShards() throws Exception {
        Run run = save(3, Sharding.ZERO_2);
        try (Checkpoint checkpoint = Checkpoint.open(directory, false)) {
            for (int u = 0; u < run.state.length; u++) {
                for (Part part : Part.values()) {
                    float[] found = new float[run.state[u][0].length];
                    checkpoint.read(u, part, 0, java.nio.FloatBuffer.wrap(found));
                    assertArrayEquals(run.state[u][part.ordinal()], found);
                    float[] some = new float[found.length / 2];
                    checkpoint.read(u, part, found.length / 3, java.nio.FloatBuffer.wrap(some));
                    assertArrayEquals(
                            java.util.Arrays.copyOfRange(found, found.length / 3, found.length / 3 + some.length),
                            some);
                }
            }
        }
    }

    private String refusal(boolean verify) {
        IOException e = assertThrows(CheckpointException.class, () -> Checkpoint.open(directory, verify)
                .close());
        return e.getMessage();
    }

    private void assertRefused(String... parts) {
        String message = refusal(false);
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
    }

    @Test
    void damagedShardsAreRefusedByName() throws Exception {
        save(2, Sharding.ZERO_2);
        Path shard = directory.resolve("shard-00001-of-00002.safetensors");
        byte[] whole = Files.readAllBytes(shard);
        byte[] flipped = whole.clone();
        flipped[whole.length - 1000] ^= 1;
        Files.write(shard, flipped);
        String message = refusal(true);
        assertTrue(message.contains(shard.toString()) && message.contains("checksum"), message);
        Checkpoint.open(directory, false).close();

        Files.write(shard, java.util.Arrays.copyOf(whole, whole.length - 4));
        assertRefused(shard.toString(), (whole.length - 4) + " bytes", "manifest says " + whole.length);
        Files.delete(shard);
        assertRefused(directory.toString(), "shard-00001-of-00002.safetensors is missing");

        byte[] header = whole.clone();
        java.util.Arrays.fill(header, 8, 40, (byte) 'x');
        Files.write(shard, header);
        IOException e = assertThrows(
                IOException.class, () -> Checkpoint.open(directory, false).close());
        assertTrue(e.getMessage().contains(shard.toString()), e.getMessage());
        Files.copy(
                directory.resolve("shard-00000-of-00002.safetensors"),
                shard,
                java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        message = refusal(true);
        assertTrue(message.contains(shard.toString()), message);
    }

    private void rewrite(Consumer<Manifest.Builder> change) throws IOException {
        Path file = directory.resolve("manifest.pb");
        Manifest.Builder builder = Manifest.parseFrom(Files.readAllBytes(file)).toBuilder();
        change.accept(builder);
        Files.write(file, builder.build().toByteArray());
    }

    @Test
    void damagedManifestsAreRefused() throws Exception {
        save(2, Sharding.ZERO_2);
        Path file = directory.resolve("manifest.pb");
        byte[] whole = Files.readAllBytes(file);
        rewrite(m -> m.setFormatVersion(2));
        assertRefused(directory.toString(), "format version 2", "version 1");
        Files.write(file, whole);
        rewrite(m -> m.setWorldSize(3));
        assertRefused("manifest.pb", "2 shards for a world of 3");
        Files.write(file, whole);
        rewrite(m -> m.setWorldSize(0).clearShards());
        assertRefused("manifest.pb", "a world of 0");
        Files.write(file, whole);
        rewrite(m -> m.setShards(1, m.getShards(0)));
        assertRefused("manifest.pb", "shard 1 is called", "expected shard-00001-of-00002.safetensors");
        Files.write(file, whole);
        rewrite(m -> m.setUnits(1, m.getUnits(1).toBuilder().setElements(64)));
        assertRefused("shard-00000-of-00002.safetensors", "layers.0/master is missing or of the wrong length");
        Files.write(file, whole);
        rewrite(m -> m.setUnits(1, m.getUnits(1).toBuilder().setElements(-64)));
        assertRefused("manifest.pb");
        Files.write(file, whole);
        rewrite(m -> m.setShards(0, m.getShards(0).toBuilder().setChecksum(ByteString.EMPTY)));
        assertTrue(refusal(true).contains("checksum"));
        Files.write(file, java.util.Arrays.copyOf(whole, whole.length / 2));
        assertRefused("manifest.pb is corrupted");
        Files.write(file, new byte[0]);
        assertRefused(directory.toString());
        Files.delete(file);
        assertRefused(directory.toString(), "not a complete checkpoint", "no manifest.pb");
    }

    @Test
    void aCheckpointOfAnotherModelIsRefusedWithBothSizes() throws Exception {
        save(2, Sharding.ZERO_2);
        try (Checkpoint checkpoint = Checkpoint.open(directory, false)) {
            List<UnitSize> units = new ArrayList<>(checkpoint.plan().units());
            units.remove(2);
            String message = assertThrows(CheckpointException.class, () -> checkpoint.requireUnits(units))
                    .getMessage();
            assertTrue(message.contains("another model"), message);
            assertTrue(message.contains("5 units") && message.contains("4 units"), message);
        }
    }
}
