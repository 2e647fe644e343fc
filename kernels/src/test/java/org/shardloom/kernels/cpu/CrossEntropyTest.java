package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A sum of n exponentials errs by n roundings; eight more for exponential, logarithm, quotient and differences. */
@Tag("any-device")
@Tag("instruction-set")
class CrossEntropyTest {
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void lossesAndGradientsAreTheirDefinitionsAtAnyVocabularySize(DType gradType) {
        for (int n : new int[] {1, 2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 5003}) {
            NativeCpu.useThreads(1 + n % 3);
            for (double range : new double[] {0, 1, 80}) {
                try (Guarded memory = new Guarded()) {
                    check(memory, gradType, memory.random(DType.F32, range, 5, n), 0.125f);
                }
            }
        }
    }

    @Test
    void aLargeCommonOffsetCostsNoPrecision() {
        try (Guarded memory = new Guarded()) {
            // Multiples of 2^-10 around 10^4 are exact in fp32, so the loss is that of their differences.
            double[] logits = new double[3 * 65];
            Arrays.setAll(logits, i -> 10_000 + memory.random.nextInt(4096) / 1024.0);
            check(memory, DType.F32, memory.of(DType.F32, logits, 3, 65), 1);
        }
    }

    @Test
    void aCertainAndAnImpossibleTargetHaveExactLosses() {
        try (Guarded memory = new Guarded()) {
            double[] logits = {80, -80, -80, 80, -80, -80, 3e38, -3e37, 0};
            Tensor tensor = memory.of(DType.F32, logits, 3, 3);
            check(memory, DType.F32, tensor, 1, memory.indices(0, 2, 0));
        }
    }

    @Test
    void everyProbabilityDownToTheSmallestIsPrecise() {
        int rows = 1000;
        double[] logits = new double[2 * rows];
        Arrays.setAll(logits, i -> i % 2 == 0 ? 0 : -88.0 * i / logits.length);
        try (Guarded memory = new Guarded()) {
            check(memory, DType.F32, memory.of(DType.F32, logits, rows, 2), 1, memory.indices(new int[rows]));
        }
    }

    private void check(Guarded memory, DType gradType, Tensor logits, float scale) {
        check(memory, gradType, logits, scale, memory.randomIndices((int) logits.rows(), (int) logits.columns()));
    }

    private void check(Guarded memory, DType gradType, Tensor logits, float scale, IndexTensor targets) {
        long rows = logits.rows(), n = logits.columns();
        Tensor losses = memory.empty(DType.F32, rows), grad = memory.empty(gradType, rows, n);
        Tensor again = memory.empty(DType.F32, rows);
        ops.softmaxCrossEntropy(losses, grad, logits, targets, scale);
        ops.softmaxCrossEntropy(again, null, logits, targets, scale);
        String what = "%s, gradient %s, seed %d".formatted(logits, gradType, memory.seed);
        Bounded[] expected = Reference.crossEntropy(Guarded.read(logits), Guarded.read(targets), scale);
        expected[0].check("losses of " + what, n + 8, losses);
        expected[1].check("gradient of " + what, n + 8, grad);
        assertArrayEquals(Guarded.bytes(losses), Guarded.bytes(again), "losses without a gradient, " + what);
    }

    @Test
    void theGradientAgreesWithFiniteDifferences() {
        try (Guarded memory = new Guarded()) {
            Tensor logits = memory.random(DType.F32, 2, 3, 17), grad = memory.empty(DType.F32, 3, 17);
            IndexTensor targets = memory.randomIndices(3, 17);
            ops.softmaxCrossEntropy(memory.empty(DType.F32, 3), grad, logits, targets, 0.5f);
            FiniteDifferences.check(
                    "seed " + memory.seed,
                    memory.random,
                    v -> Reference.crossEntropy(v, Guarded.read(targets), 1)[0].values,
                    Guarded.read(logits),
                    new double[] {0.5, 0.5, 0.5},
                    grad,
                    1e-6);
        }
    }

    @Test
    void aLogitThatIsNotANumberReachesTheLoss() {
        for (int at = 0; at < 33; at++) {
            double[] logits = new double[33];
            logits[at] = Double.NaN;
            try (Guarded memory = new Guarded()) {
                Tensor losses = memory.empty(DType.F32, 1);
                ops.softmaxCrossEntropy(losses, null, memory.of(DType.F32, logits, 1, 33), memory.indices(5), 1);
                assertTrue(Double.isNaN(Guarded.read(losses)[0]), "NaN at " + at);
            }
        }
    }
}
