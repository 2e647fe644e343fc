package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Training on a device with memory of its own, optimizer and parameters there or on the host, against the reference's trace. */
@Timeout(120)
class SplitMemoryTest {
    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,false",
        "1,SPLIT_ZERO_3_OFFLOADED,true",
        "3,SPLIT_ZERO_2,false",
        "4,SPLIT_ZERO_3,true",
        "4,SPLIT_ZERO_3_OFFLOADED,false",
        "1,SPLIT_ZERO_2_ON_DEVICE,true",
        "3,SPLIT_ZERO_2_ON_DEVICE,false",
        "4,SPLIT_ZERO_3_ON_DEVICE,true"
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
                Map<Purpose, Long> onDevice = trainer.device.statistics().currentByPurpose();
                Map<Purpose, Long> onHost = trainer.device.hostStatistics().currentByPurpose();
                boolean optimizerOnHost = sharding.placement.optimizerOnHost();
                assertEquals(optimizerOnHost, onDevice.get(Purpose.OPTIMIZER) == 0);
                assertEquals(!optimizerOnHost, onHost.get(Purpose.OPTIMIZER) == 0);
                assertEquals(!optimizerOnHost, onHost.get(Purpose.GRADIENTS) == 0);
                assertEquals(sharding.placement.parametersOnHost(), onDevice.get(Purpose.PARAMETERS) == 0);
            }
            return losses;
        });
        byRank.forEach(losses -> assertEquals(byRank.get(0), losses));
    }

    /** Gradients in 16 bits are another rounding, not another training. */
    @ParameterizedTest
    @CsvSource({"BF16,0.02,SPLIT_ZERO_3", "F16,0.005,SPLIT_ZERO_3", "BF16,0.02,SPLIT_ZERO_3_ON_DEVICE"})
    void sixteenBitsStayNearTheDeviceThatSharesMemory(DType dtype, double tolerance, Sharding own) throws Exception {
        double[][] losses = new double[2][10];
        for (int split = 0; split < 2; split++) {
            Sharding sharding = split == 1 ? own : Sharding.ZERO_3_GATHERED;
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

    /** As when workers come and go, or a checkpoint is written and read: what is on the device passes through the host unchanged. */
    @Test
    void stateLeavesTheDeviceAndComesBack(@TempDir Path directory) throws Exception {
        Ranks.run(2, (rank, group) -> {
            Sharding sharding = Sharding.SPLIT_ZERO_3_ON_DEVICE;
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW)) {
                trainer.accumulated(1);
                trainer.accumulated(2);
                float[][][] before = trainer.state();
                MemoryStatistics device = trainer.device.statistics();
                long bytes = device.currentByPurpose().get(Purpose.OPTIMIZER);
                trainer.engine.stateToHost();
                assertEquals(0, device.currentByPurpose().get(Purpose.OPTIMIZER));
                assertEquals(
                        bytes,
                        trainer.device.hostStatistics().currentByPurpose().get(Purpose.OPTIMIZER));
                trainer.engine.stateHome();
                assertEquals(bytes, device.currentByPurpose().get(Purpose.OPTIMIZER));
                assertTrue(Arrays.deepEquals(before, trainer.state()));
                Path shards = Files.createDirectories(directory.resolve("rank" + rank));
                ShardFiles.write(shards, trainer.engine.plan(), rank, trainer.engine.optimizer());
                try (SafetensorsFile file = SafetensorsFile.open(shards.resolve(ShardFiles.fileName(rank, 2)))) {
                    for (int u = 0; u < before.length; u++) {
                        for (Part part : Part.values()) {
                            String name = trainer.engine.plan().units().get(u).name() + "/" + part.key;
                            FloatBuffer written = FloatBuffer.allocate(before[u][part.ordinal()].length);
                            file.read(name, 0, written);
                            assertArrayEquals(before[u][part.ordinal()], written.array(), name);
                        }
                    }
                }
                float[] expected = trainer.train().readAll("accum4/loss");
                assertEquals(expected[2], trainer.accumulated(3).loss(), 1e-4 * expected[2], "a step after all that");
                trainer.engine.retire();
                assertEquals(0, device.currentBytes(), "what is retired has nothing on the device");
                return null;
            }
        });
    }
}
