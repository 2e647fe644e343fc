package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** One to four ranks, however the parameters are sharded, against the traces of PyTorch. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class ManyRanksTest {

    static Stream<Arguments> layouts() {
        List<Arguments> all = new ArrayList<>();
        for (int world = 1; world <= 4; world++) {
            for (Sharding sharding : Sharding.values()) {
                for (boolean recompute : new boolean[] {false, true}) {
                    all.add(Arguments.of(world, sharding, recompute));
                }
            }
        }
        return all.stream();
    }

    @ParameterizedTest
    @MethodSource("layouts")
    void fourMicroBatchesOverAnyRanksGiveTheReferenceTrace(int world, Sharding sharding, boolean recompute)
            throws Exception {
        List<List<StepResult>> byRank = Ranks.run(world, (rank, group) -> {
            List<StepResult> results = new ArrayList<>();
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, recompute, TinyModel.ADAMW)) {
                for (int step = 1; step <= 20; step++) {
                    results.add(trainer.accumulated(step));
                }
            }
            return results;
        });
        assertTrace("accum4", byRank);
    }

    @ParameterizedTest
    @EnumSource(Sharding.class)
    void twentyStepsOverThreeRanksEndWithTheReferencesParameters(Sharding sharding) throws Exception {
        List<List<StepResult>> results = List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
        List<UnitSpec> units = new ArrayList<>();
        List<float[][][]> states = Ranks.run(3, (rank, group) -> {
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW)) {
                for (int step = 1; step <= 20; step++) {
                    results.get(rank).add(trainer.plain(step));
                }
                if (rank == 0) {
                    units.addAll(trainer.engine.units());
                }
                return trainer.state();
            }
        });
        assertTrace("plain", results);
        float[][][] whole = TinyTrainer.whole(states);
        try (TensorSource train = TinyModel.open(SharedFixtures.tinyChatglm3().resolve("train.safetensors"))) {
            for (int u = 0; u < units.size(); u++) {
                for (ParameterSpec p : units.get(u).parameters().values()) {
                    String name = p.sources().get(0).name();
                    float[] expected = train.readAll("plain/final/param/" + name);
                    for (int i = 0; i < expected.length; i++) {
                        if (!isKeyBiasWithoutGradient(name, i)) {
                            assertEquals(expected[i], whole[u][0][(int) p.offset() + i], 2e-4, name + " at " + i);
                        }
                    }
                }
            }
        }
    }

    /** The softmax does not feel them: their gradients are rounding noise, which Adam makes updates of. */
    private static boolean isKeyBiasWithoutGradient(String name, int i) {
        return name.endsWith("query_key_value.bias") && i >= 64 && i < 96 && (i - 64) % 16 >= 8;
    }

    private static void assertTrace(String trace, List<List<StepResult>> byRank) throws Exception {
        try (TensorSource train = TinyModel.open(SharedFixtures.tinyChatglm3().resolve("train.safetensors"))) {
            float[] losses = train.readAll(trace + "/loss");
            float[] norms = train.readAll(trace + "/grad_norm");
            for (int i = 0; i < losses.length; i++) {
                StepResult first = byRank.get(0).get(i);
                assertTrue(first.applied());
                assertEquals(losses[i], first.loss(), 1e-4 * losses[i], "loss of step " + (i + 1));
                assertEquals(norms[i], first.gradNorm(), 1e-3 * norms[i], "norm of step " + (i + 1));
                for (List<StepResult> rank : byRank) {
                    assertEquals(first.loss(), rank.get(i).loss(), "all ranks know the same loss");
                    assertEquals(first.gradNorm(), rank.get(i).gradNorm(), "all ranks know the same norm");
                }
            }
        }
    }

    @Test
    void anAbortAfterTheGroupIsClosedIsHarmless() throws Exception {
        Ranks.run(2, (rank, group) -> {
            group.barrier().await();
            group.close();
            group.abort("too late");
            group.close();
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Sharding.class)
    void aRankThatDiesDoesNotLeaveTheOthersWaiting(Sharding sharding) {
        long started = System.nanoTime();
        Exception failure = assertThrows(
                IllegalStateException.class,
                () -> Ranks.run(3, (rank, group) -> {
                    try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, false, TinyModel.ADAMW)) {
                        trainer.accumulated(1);
                        if (rank == 1) {
                            throw new IllegalStateException("killed");
                        }
                        return trainer.accumulated(2);
                    }
                }));
        assertEquals("killed", failure.getMessage());
        assertTrue(System.nanoTime() - started < 20e9, "the others waited until their time limit");
    }
}
