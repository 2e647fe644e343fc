package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.optim.StateWindow;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/**
 * Training on the CUDA device over the simulated driver and simulated NCCL, against the reference's trace: streams are threads there, which
 * dawdle at random, so that a missing wait is a wrong number. A GPU takes part in profile gpu only.
 */
@Timeout(600)
class CudaTrainingTest {
    private static final int SEEDS = 20;
    private static final int PIECE = 20_000;

    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,false",
        "1,SPLIT_ZERO_3_OFFLOADED,true",
        "4,SPLIT_ZERO_2,false",
        "4,SPLIT_ZERO_3,true",
        "3,SPLIT_ZERO_3_OFFLOADED,false",
        "1,SPLIT_ZERO_2_ON_DEVICE,true",
        "3,SPLIT_ZERO_2_ON_DEVICE,false"
    })
    void stepsEqualTheReference(int world, Sharding sharding, boolean recompute) throws Exception {
        List<List<Double>> byRank = CudaRanks.run(
                world, 7, 50, (device, group) -> losses(device, group, DType.F32, sharding, recompute, 6));
        byRank.forEach(losses -> assertEquals(byRank.get(0), losses));
    }

    /** The same operations in the same order, whatever stream dawdles: not one bit differs. */
    @ParameterizedTest
    @EnumSource(names = {"SPLIT_ZERO_2", "SPLIT_ZERO_3", "SPLIT_ZERO_3_OFFLOADED", "SPLIT_ZERO_3_ON_DEVICE"})
    void delaysChangeNoLoss(Sharding sharding) throws Exception {
        List<Double> first = null;
        for (int seed = 1; seed <= SEEDS; seed++) {
            List<Double> losses = CudaRanks.run(
                            4, seed, 30, (device, group) -> losses(device, group, DType.F32, sharding, true, 2))
                    .get(0);
            first = first == null ? losses : first;
            assertEquals(first, losses, "losses with seed " + seed);
        }
    }

    /** Each stream in turn is so slow that whoever does not wait for it comes too early. */
    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,COMPUTE",
        "1,SPLIT_ZERO_2,TO_HOST",
        "1,SPLIT_ZERO_2,TO_DEVICE",
        "1,SPLIT_ZERO_3_OFFLOADED,TO_DEVICE",
        "2,SPLIT_ZERO_2,COMPUTE",
        "2,SPLIT_ZERO_2,TO_HOST",
        "2,SPLIT_ZERO_2,TO_DEVICE",
        "2,SPLIT_ZERO_2,COMMUNICATION",
        "2,SPLIT_ZERO_3,COMPUTE",
        "2,SPLIT_ZERO_3,TO_HOST",
        "2,SPLIT_ZERO_3,COMMUNICATION",
        "2,SPLIT_ZERO_3_OFFLOADED,COMPUTE",
        "2,SPLIT_ZERO_3_OFFLOADED,TO_DEVICE",
        "2,SPLIT_ZERO_3_OFFLOADED,COMMUNICATION",
        "2,SPLIT_ZERO_2_ON_DEVICE,COMMUNICATION"
    })
    void aSlowStreamIsWaitedFor(int world, Sharding sharding, Lane slow) throws Exception {
        int micros = slow == Lane.COMPUTE ? 500 : 5000;
        CudaRanks.run(world, 3, 0, (device, group) -> {
            SimulatedDriver.slow(slow, micros);
            return losses(device, group, DType.F32, sharding, true, 2);
        });
    }

    /** An optimizer's state on the GPU, read and written piece by piece and moved as a whole, while copies dawdle. */
    @ParameterizedTest
    @EnumSource(names = {"TO_HOST", "TO_DEVICE"})
    void stateIsMovedAsItIs(Lane slow) throws Exception {
        CudaRanks.run(1, 3, 0, (device, group) -> {
            Sharding sharding = Sharding.SPLIT_ZERO_2_ON_DEVICE;
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW, device)) {
                trainer.accumulated(1);
                float[][][] before = trainer.state();
                SimulatedDriver.slow(slow, 5000);
                OptimizerShard state = trainer.engine.optimizer();
                // Twice as it was, and then as it is, each through a window of its own.
                for (float factor : new float[] {2, 1}) {
                    try (StateWindow window = new StateWindow(state, PIECE)) {
                        for (int u = 0; u < before.length; u++) {
                            for (Part part : Part.values()) {
                                float[] values = before[u][part.ordinal()];
                                for (int from = 0; from < values.length; from += PIECE) {
                                    int count = Math.min(PIECE, values.length - from);
                                    FloatBuffer to = floats(window.write(u, part, from, count));
                                    for (int i = 0; i < count; i++) {
                                        to.put(i, factor * values[from + i]);
                                    }
                                    window.store();
                                    FloatBuffer found = floats(window.read(u, part, from, count));
                                    for (int i = 0; i < count; i++) {
                                        assertEquals(factor * values[from + i], found.get(i));
                                    }
                                }
                            }
                        }
                    }
                }
                trainer.engine.stateToHost();
                trainer.engine.stateHome();
                assertTrue(Arrays.deepEquals(before, trainer.state()), "state that was moved");
            }
            return null;
        });
    }

    private static FloatBuffer floats(Tensor tensor) {
        return HostBytes.view(tensor.address(), tensor.bytes()).asFloatBuffer();
    }

    /** Compares fp32 steps with the reference. */
    private static List<Double> losses(
            CudaDevice device, Collectives group, DType dtype, Sharding sharding, boolean recompute, int steps)
            throws Exception {
        List<Double> losses = new ArrayList<>();
        try (TinyTrainer trainer = new TinyTrainer(group, dtype, sharding, recompute, TinyModel.ADAMW, device)) {
            float[] expected = trainer.train().readAll("accum4/loss");
            float[] norms = trainer.train().readAll("accum4/grad_norm");
            long allocations = 0;
            for (int step = 1; step <= steps; step++) {
                StepResult result = trainer.accumulated(step);
                assertEquals(expected[step - 1], result.loss(), 1e-4 * expected[step - 1], "loss of step " + step);
                assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
                losses.add(result.loss());
                long takes = device.allocator().takes();
                assertEquals(step > 2 ? allocations : takes, takes, "allocations by step " + step);
                allocations = takes;
            }
        }
        if (SimulatedDriver.simulated()) {
            assertEquals(0, SimulatedDriver.pageableCopies(), "copies of memory that is not page-locked");
            assertEquals(0, SimulatedDriver.deviceWaits(group.rank()), "waits for a whole device");
        }
        return losses;
    }
}
