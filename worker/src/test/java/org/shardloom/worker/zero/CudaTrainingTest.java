package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Training on the CUDA device over the simulated driver, against the reference's trace. No GPU takes part. */
@Timeout(300)
class CudaTrainingTest {
    @ParameterizedTest
    @CsvSource({"SPLIT_ZERO_2,false,0", "SPLIT_ZERO_3_OFFLOADED,true,100"})
    void stepsEqualTheReference(Sharding sharding, boolean recompute, int delayMicros) throws Exception {
        SimulatedDriver.start(1, 256L << 20, 7, delayMicros);
        List<Double> losses = new ArrayList<>();
        try (TinyTrainer trainer = new TinyTrainer(
                new LocalCollectives(),
                DType.F32,
                sharding,
                recompute,
                TinyModel.ADAMW,
                new CudaDevice(0, SimulatedDriver.images()))) {
            float[] expected = trainer.train().readAll("accum4/loss");
            float[] norms = trainer.train().readAll("accum4/grad_norm");
            for (int step = 1; step <= 10; step++) {
                StepResult result = trainer.accumulated(step);
                assertEquals(expected[step - 1], result.loss(), 1e-4 * expected[step - 1], "loss of step " + step);
                assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
                losses.add(result.loss());
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }
}
