package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A row's sum of n squares errs by n roundings and its root by half of them; a few more for the factors. */
@Tag("any-device")
@Tag("instruction-set")
class RmsNormTest {
    private static final float EPS = 1e-5f;
    private static final int[] WIDTHS = {1, 2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 700};
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void theNormIsItsDefinitionAtAnyWidth(DType dtype) {
        for (int n : WIDTHS) {
            NativeCpu.useThreads(1 + n % 3);
            try (Guarded memory = new Guarded()) {
                forward(memory, memory.random(dtype, 2, 5, n), memory.random(dtype, 2, n));
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void zeroEqualAndHugeRowsAreNormalised(DType dtype) {
        double huge = dtype == DType.F16 ? 60000 : 1e15;
        for (double scale : new double[] {0, 1e-3, huge}) {
            try (Guarded memory = new Guarded()) {
                double[] equal = new double[3 * 257];
                Arrays.fill(equal, scale);
                Tensor weight = memory.random(dtype, 1, 257);
                forward(memory, memory.of(dtype, equal, 3, 257), weight);
                forward(memory, memory.random(dtype, scale, 3, 257), weight);
            }
        }
    }

    private void forward(Guarded memory, Tensor x, Tensor weight) {
        int rows = (int) x.rows(), n = (int) x.columns();
        Tensor out = memory.empty(x.dtype(), rows, n), inverse = memory.empty(DType.F32, rows);
        ops.rmsNorm(out, inverse, null, x, null, weight, EPS);
        String what = "norm of " + x + ", seed " + memory.seed;
        double[] xs = Guarded.read(x);
        Reference.rmsNorm(xs, Guarded.read(weight), EPS).check(what, n / 2.0 + 6, out);
        Bounded inverses = new Bounded(rows);
        for (int r = 0; r < rows; r++) {
            inverses.add(r, Reference.inverseNorm(xs, r, n, EPS));
        }
        inverses.check("inverse " + what, n / 2.0 + 4, inverse);
    }

    @ParameterizedTest
    @EnumSource
    void theSumWithTheResidualIsKeptAndNormalisedAsItIsStored(DType dtype) {
        for (int n : WIDTHS) {
            for (int alias = 0; alias < 3; alias++) {
                try (Guarded memory = new Guarded()) {
                    Tensor x = memory.random(dtype, 2, 4, n), residual = memory.random(dtype, 2, 4, n);
                    Bounded sums = new Bounded(4 * n);
                    double[] xs = Guarded.read(x), rs = Guarded.read(residual);
                    for (int i = 0; i < 4 * n; i++) {
                        sums.add(i, xs[i]);
                        sums.add(i, rs[i]);
                    }
                    Tensor sum = alias == 0 ? memory.empty(dtype, 4, n) : alias == 1 ? x : residual;
                    Tensor weight = memory.random(dtype, 1, n), out = memory.empty(dtype, 4, n);
                    Tensor inverse = memory.empty(DType.F32, 4);
                    ops.rmsNorm(out, inverse, sum, x, residual, weight, EPS);
                    String what = "%s, alias %d, seed %d".formatted(x, alias, memory.seed);
                    sums.check("sum of " + what, 1, sum);
                    Reference.rmsNorm(Guarded.read(sum), Guarded.read(weight), EPS)
                            .check("norm of the sum, " + what, n / 2.0 + 6, out);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void gradientsAreTheirDefinitionsWithAndWithoutASkip(DType dtype) {
        for (int n : WIDTHS) {
            for (int variant = 0; variant < 8; variant++) {
                NativeCpu.useThreads(1 + variant % 3);
                DType gradType = DType.values()[(n + variant) % 3];
                try (Guarded memory = new Guarded()) {
                    backward(memory, dtype, gradType, n, variant % 2 == 1, variant / 2 % 2 == 1, variant / 4 == 1);
                }
            }
        }
    }

    private void backward(
            Guarded memory, DType dtype, DType gradType, int n, boolean withSkip, boolean accumulate, boolean alias) {
        int rows = 13;
        Tensor x = memory.random(dtype, 2, rows, n), weight = memory.random(dtype, 1, n);
        Tensor gradOut = memory.random(dtype, 1, rows, n), skip = withSkip ? memory.random(dtype, 1, rows, n) : null;
        Tensor inverse = memory.empty(DType.F32, rows), out = memory.empty(dtype, rows, n);
        Tensor gradWeight = memory.random(gradType, 1, n);
        ops.rmsNorm(out, inverse, null, x, null, weight, EPS);
        Bounded[] expected = Reference.rmsNormBackward(
                Guarded.read(gradOut), Guarded.read(x), Guarded.read(weight), Guarded.read(skip), EPS);
        double[] start = Guarded.read(gradWeight);
        for (int i = 0; i < n && accumulate; i++) {
            expected[1].add(i, start[i]);
        }
        Tensor gradX = !alias ? memory.empty(dtype, rows, n) : withSkip ? skip : gradOut;
        ops.rmsNormBackward(gradX, gradWeight, accumulate, gradOut, x, inverse, weight, skip);
        String what = "%s, gradWeight %s, skip %s, accumulate %s, alias %s, seed %d"
                .formatted(x, gradType, withSkip, accumulate, alias, memory.seed);
        // The inverse errs by n / 2 roundings and enters twice, and once more into the mean, which is a sum of n terms.
        expected[0].check("gradX of " + what, 2.5 * n + 12, gradX);
        expected[1].check("gradWeight of " + what, n / 2.0 + rows + 8, gradWeight);
    }

    @Test
    void aFrozenWeightGetsNoGradient() {
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.random(DType.F32, 1, 3, 17), weight = memory.random(DType.F32, 1, 17);
            Tensor gradOut = memory.random(DType.F32, 1, 3, 17), inverse = memory.empty(DType.F32, 3);
            Tensor with = memory.empty(DType.F32, 3, 17), without = memory.empty(DType.F32, 3, 17);
            ops.rmsNorm(with, inverse, null, x, null, weight, EPS);
            ops.rmsNormBackward(with, memory.empty(DType.F32, 17), false, gradOut, x, inverse, weight, null);
            ops.rmsNormBackward(without, null, false, gradOut, x, inverse, weight, null);
            assertArrayEquals(Guarded.bytes(with), Guarded.bytes(without));
        }
    }

    @Test
    void gradientsAgreeWithFiniteDifferences() {
        try (Guarded memory = new Guarded()) {
            int n = 33, rows = 3;
            Tensor x = memory.random(DType.F32, 2, rows, n), weight = memory.random(DType.F32, 1, n);
            Tensor gradOut = memory.random(DType.F32, 1, rows, n), inverse = memory.empty(DType.F32, rows);
            Tensor gradX = memory.empty(DType.F32, rows, n), gradWeight = memory.empty(DType.F32, n);
            ops.rmsNorm(gradX, inverse, null, x, null, weight, EPS);
            ops.rmsNormBackward(gradX, gradWeight, false, gradOut, x, inverse, weight, null);
            double[] xs = Guarded.read(x), ws = Guarded.read(weight), gs = Guarded.read(gradOut);
            String what = "seed " + memory.seed;
            // Terms of at most about 1: a hundred roundings.
            FiniteDifferences.check(
                    what, memory.random, v -> Reference.rmsNorm(v, ws, EPS).values, xs, gs, gradX, 1e-5);
            FiniteDifferences.check(
                    what, memory.random, v -> Reference.rmsNorm(xs, v, EPS).values, ws, gs, gradWeight, 1e-5);
        }
    }
}
