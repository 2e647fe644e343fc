package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Training on a device with memory of its own, optimizer and parameters on the host, against the reference's trace. */
@Timeout(120)
class SplitMemoryTest {
    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,false",
        "1,SPLIT_ZERO_3_OFFLOADED,true",
        "3,SPLIT_ZERO_2,false",
        "4,SPLIT_ZERO_3,true",
        "4,SPLIT_ZERO_3_OFFLOADED,false"
    })
    void stepsEqualTheReference(int world, Sharding sharding, boolean recompute) throws Exception {
        List<List<Double>> byRank = Ranks.run(world, (rank, group) -> {
            List<Double> losses = new ArrayList<>();
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, recompute, TinyModel.ADAMW)) {
                float[] expected = trainer.train().readAll("accum4/loss");
                float[] norms = trainer.train().readAll("accum4/grad_norm");
                for (int step = 1; step <= 10; step++) {
                    StepResult result = trainer.accumulated(step);
                    assertEquals(expected[step - 1], result.loss(), 1e-4 * expected[step - 1], "loss of step " + step);
                    assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
                    losses.add(result.loss());
                }
                // What is on the host is there, and nowhere else.
                assertEquals(
                        0L,
                        trainer.device
                                .statistics()
                                .currentByPurpose()
                                .get(org.shardloom.kernels.device.Purpose.OPTIMIZER));
                assertEquals(
                        sharding.placement.parametersOnHost(),
                        trainer.device
                                        .statistics()
                                        .currentByPurpose()
                                        .get(org.shardloom.kernels.device.Purpose.PARAMETERS)
                                == 0);
            }
            return losses;
        });
        byRank.forEach(losses -> assertEquals(byRank.get(0), losses));
    }

    /** Gradients in 16 bits are another rounding, not another training. */
    @ParameterizedTest
    @CsvSource({"BF16,0.02", "F16,0.005"})
    void sixteenBitsStayNearTheDeviceThatSharesMemory(DType dtype, double tolerance) throws Exception {
        double[][] losses = new double[2][10];
        for (int split = 0; split < 2; split++) {
            Sharding sharding = split == 1 ? Sharding.SPLIT_ZERO_3 : Sharding.ZERO_3_GATHERED;
            int row = split;
            Ranks.run(2, (rank, group) -> {
                try (TinyTrainer trainer = new TinyTrainer(group, dtype, sharding, true, TinyModel.ADAMW)) {
                    for (int step = 1; step <= 10; step++) {
                        double loss = trainer.plain(step).loss();
                        if (rank == 0) {
                            losses[row][step - 1] = loss;
                        }
                    }
                }
                return null;
            });
        }
        for (int step = 0; step < 10; step++) {
            assertEquals(losses[0][step], losses[1][step], tolerance * losses[0][step], "loss of step " + (step + 1));
        }
    }
}
