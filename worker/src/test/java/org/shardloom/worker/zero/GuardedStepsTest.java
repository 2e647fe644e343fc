package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.worker.model.PackedBatch;

/** Steps that the guard refuses, on every rank and before anything is applied. */
@Timeout(60)
class GuardedStepsTest {
    /** Real steps after others that were nothing like them. */
    @ParameterizedTest
    @CsvSource({
        "1e6, 1, 0, the loss has collapsed to",
        "4, 1e9, 20, the gradient has vanished",
        "4, 1, -12, the gradient norm has exploded to"
    })
    void aStepUnlikeThoseBeforeIsNotApplied(double lowLoss, double lowNorm, double usualLogNorm, String said)
            throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    TinyTrainer trainer = TinyTrainer.guarded(group, DType.F32, device)) {
                assertTrue(trainer.accumulated(1).applied());
                GuardState usual = trainer.engine.guardState();
                float[][][] before = trainer.state();
                trainer.engine.restoreGuard(new GuardState(30, lowLoss, lowNorm, usualLogNorm, usualLogNorm, 0, 0));
                String message = assertThrows(StepRefusedException.class, () -> trainer.accumulated(2))
                        .getMessage();
                assertTrue(message.contains(said) && message.contains("train.spike.action"), message);
                assertTrue(Arrays.deepEquals(before, trainer.state()), "nothing is applied");
                assertEquals(1, trainer.engine.optimizer().updates());
                trainer.engine.restoreGuard(usual);
                assertTrue(trainer.accumulated(2).applied(), "the ranks are still in step");
            }
            return null;
        });
    }

    @Test
    void overflowsAtTheLowestScaleEndTheRun() throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    TinyTrainer trainer = TinyTrainer.guarded(group, DType.F16, device)) {
                List<PackedBatch> batches = TinyModel.microBatches(trainer.train(), 1, 4);
                // Of so small a divisor gradients are beyond fp16, the loss is not beyond what it is counted in.
                List<Double> divisors = batches.stream().map(b -> 1e-9).toList();
                trainer.engine.scaler().restore(1, 0);
                float[][][] before = trainer.state();
                assertFalse(trainer.step(batches, divisors, 1e-3).applied(), "once may be an accident");
                String message = assertThrows(StepRefusedException.class, () -> trainer.step(batches, divisors, 1e-3))
                        .getMessage();
                assertTrue(
                        message.contains("although the loss scale is at its floor of 1")
                                && message.contains("precision: bf16 or fp32"),
                        message);
                assertTrue(Arrays.deepEquals(before, trainer.state()), "nothing is applied");
            }
            return null;
        });
    }
}
