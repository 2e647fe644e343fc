package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.cuda.OnlySimulated;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/**
 * Steps whose every tensor is an allocation of the driver's own, so that what is written past its end, or after its release, is found by the
 * simulated driver's red zones. No GPU takes part.
 */
@OnlySimulated("its red zones")
@Timeout(300)
class RedZonesTest {
    private static final String CACHING = "shardloom.cuda.caching";

    @BeforeAll
    static void everyTensorByItself() {
        System.setProperty(CACHING, "false");
    }

    @AfterAll
    static void asUsual() {
        System.clearProperty(CACHING);
    }

    @ParameterizedTest
    @CsvSource({"2,SPLIT_ZERO_3_OFFLOADED,BF16,true", "2,SPLIT_ZERO_2_ON_DEVICE,F32,false"})
    void stepsStayWithinTheirTensors(int world, Sharding sharding, DType dtype, boolean recompute) throws Exception {
        CudaRanks.run(world, 13, 20, (device, group) -> {
            try (TinyTrainer trainer = new TinyTrainer(group, dtype, sharding, recompute, TinyModel.ADAMW, device)) {
                float[] expected = trainer.train().readAll("accum4/loss");
                for (int step = 1; step <= 2; step++) {
                    double loss = trainer.accumulated(step).loss();
                    assertEquals(expected[step - 1], loss, (dtype == DType.F32 ? 1e-4 : 0.02) * expected[step - 1]);
                }
            }
            return null;
        });
    }

    @ParameterizedTest
    @CsvSource({"tiny-chatglm1,ptuning-projection,1", "tiny-chatglm3,qlora-all,1"})
    void methodsStayWithinTheirTensors(String model, String method, int world) throws Exception {
        CudaRanks.run(world, 13, 20, (device, group) -> {
            TuningMethodsTest.fiveStepsEqualTheReference(
                    model, method, 3, Placement.OFFLOADED_OPTIMIZER, device, group);
            return null;
        });
    }
}
