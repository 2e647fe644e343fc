package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** What a rank holds, by purpose, and that it holds no more after a thousand steps. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class EngineMemoryTest {

    private static List<Map<Purpose, Long>> afterAStep(int world, Sharding sharding) throws Exception {
        return Ranks.run(world, (rank, group) -> {
            try (TinyTrainer trainer = new TinyTrainer(group, DType.BF16, sharding, true, TinyModel.ADAMW)) {
                trainer.accumulated(1);
                return trainer.device.statistics().currentByPurpose();
            }
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"ZERO_2", "ZERO_3_IN_PLACE", "ZERO_3_GATHERED"})
    void whatARankHoldsFallsAsRanksAreAdded(Sharding sharding) throws Exception {
        Map<Purpose, Long> alone = afterAStep(1, sharding).get(0);
        for (int world = 2; world <= 4; world++) {
            for (Map<Purpose, Long> held : afterAStep(world, sharding)) {
                assertShare(Purpose.OPTIMIZER, alone, held, world);
                assertTrue(
                        held.get(Purpose.GRADIENTS) < alone.get(Purpose.GRADIENTS),
                        "the sums fall, the buffers of units stay");
                if (sharding != Sharding.ZERO_2) {
                    assertShare(Purpose.PARAMETERS, alone, held, world);
                }
                if (sharding == Sharding.ZERO_2) {
                    assertEquals(alone.get(Purpose.PARAMETERS), held.get(Purpose.PARAMETERS), 5 * 4 * 64 * 2);
                }
                assertEquals(0, held.get(Purpose.GATHERED), "units are freed after use");
                assertEquals(0, held.get(Purpose.ACTIVATIONS));
            }
        }
    }

    /** The share may be larger by the padding of each unit. */
    private static void assertShare(Purpose purpose, Map<Purpose, Long> alone, Map<Purpose, Long> held, int world) {
        long whole = alone.get(purpose);
        assertTrue(whole > 0, purpose + " is not counted");
        assertEquals(whole / (double) world, held.get(purpose), 5 * 64 * 12, purpose + " over " + world);
    }

    @Test
    void aGatheredEngineHoldsOnlyTheUnitInUseAndTheNext() throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (TinyTrainer trainer =
                    new TinyTrainer(group, DType.F32, Sharding.ZERO_3_GATHERED, true, TinyModel.ADAMW)) {
                trainer.accumulated(1);
                long peak = trainer.device.statistics().peakByPurpose().get(Purpose.GATHERED);
                long largest = 0;
                long all = 0;
                for (int u = 0; u < trainer.engine.units().size(); u++) {
                    largest = Math.max(largest, trainer.engine.plan().paddedElements(u) * 4);
                    all += trainer.engine.plan().paddedElements(u) * 4;
                }
                assertTrue(peak < all && peak <= 2 * largest, peak + " bytes gathered of " + all);
                return null;
            }
        });
    }

    @Test
    void aThousandStepsLeakNothing() throws Exception {
        for (Sharding sharding : List.of(Sharding.ZERO_3_IN_PLACE, Sharding.ZERO_3_GATHERED)) {
            int steps = sharding == Sharding.ZERO_3_IN_PLACE ? 1000 : 200;
            // Ranks are threads of this process: one of them measures it while all of them wait.
            List<Long> resident = new ArrayList<>();
            CyclicBarrier all = new CyclicBarrier(2, () -> resident.add(residentBytes()));
            Ranks.run(2, (rank, group) -> {
                try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW)) {
                    MemoryStatistics statistics = trainer.device.statistics();
                    long held = 0;
                    long peak = 0;
                    for (int step = 1; step <= steps; step++) {
                        trainer.engine.step(new StepInput(
                                TinyModel.microBatches(trainer.train(), (step % 2) * 2 + 1, 8)
                                        .subList(rank, rank + 1),
                                List.of(100.0),
                                1,
                                1e-4));
                        if (step == 4) {
                            held = statistics.currentBytes();
                            peak = statistics.peakBytes();
                        } else if (step == 100 || step == steps) {
                            all.await(60, TimeUnit.SECONDS);
                        }
                    }
                    assertEquals(held, statistics.currentBytes(), "device memory after " + steps + " steps");
                    assertEquals(peak, statistics.peakBytes(), "peak of device memory after " + steps + " steps");
                    return null;
                }
            });
            // A leak of one vector of a layer in each step would be more.
            assertTrue(resident.get(1) - resident.get(0) < 24 << 20, "resident memory has grown: " + resident);
        }
    }

    /** What is resident once the heap has given back what it does not need: the least of a few readings. */
    private static long residentBytes() {
        long least = Long.MAX_VALUE;
        for (int i = 0; i < 4; i++) {
            System.gc();
            least = Math.min(least, NativeCpu.residentBytes(false));
        }
        return least;
    }
}
