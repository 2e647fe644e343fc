package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** LayerNorm, GELU and their neighbours against plain loops in double precision. */
@Tag("any-device")
@Tag("instruction-set")
class FirstGlmOpsTest {
    private static final float EPS = 1e-5f;
    private static final int[] WIDTHS = {2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 700};
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    /**
     * Mean and 1 / sqrt(variance + eps) of a row. The mean errs by roundings of the values, so what is relative to the deviation errs by
     * 1 / deviation times as much: the factors 1 + s[1] below.
     */
    private static double[] statistics(double[] x, int row, int n) {
        double mean = 0;
        double squares = 0;
        for (int i = row * n; i < row * n + n; i++) {
            mean += x[i] / n;
        }
        for (int i = row * n; i < row * n + n; i++) {
            squares += (x[i] - mean) * (x[i] - mean);
        }
        return new double[] {mean, 1 / Math.sqrt(squares / n + EPS)};
    }

    private static Bounded layerNorm(double[] x, double[] weight, double[] bias) {
        int n = weight.length;
        Bounded out = new Bounded(x.length);
        for (int r = 0; r < x.length / n; r++) {
            double[] s = statistics(x, r, n);
            for (int i = 0; i < n; i++) {
                double value = (x[r * n + i] - s[0]) * s[1] * weight[i];
                double size = (Math.abs(x[r * n + i]) + 1) * s[1] * Math.abs(weight[i]) * (1 + s[1]);
                out.add(r * n + i, value, size);
                out.add(r * n + i, bias[i]);
            }
        }
        return out;
    }

    /** From the definition: gradients of x, weight and bias by the chain rule over mean and variance. */
    private static Bounded[] layerNormBackward(double[] gradOut, double[] x, double[] weight) {
        int n = weight.length;
        Bounded gradX = new Bounded(x.length), gradWeight = new Bounded(n), gradBias = new Bounded(n);
        for (int r = 0; r < x.length / n; r++) {
            double[] s = statistics(x, r, n);
            double gradMean = 0, gradInverse = 0, size = 0;
            for (int i = 0; i < n; i++) {
                double g = gradOut[r * n + i], centred = x[r * n + i] - s[0];
                gradBias.add(i, g);
                gradWeight.add(i, g * centred * s[1], Math.abs(g) * (Math.abs(x[r * n + i]) + 1) * s[1] * (1 + s[1]));
                gradMean -= g * weight[i] * s[1];
                gradInverse += g * weight[i] * centred;
                size += Math.abs(g * weight[i]) * (1 + Math.abs(centred) * s[1]);
            }
            for (int i = 0; i < n; i++) {
                double centred = x[r * n + i] - s[0];
                double value = gradOut[r * n + i] * weight[i] * s[1]
                        + gradMean / n
                        - gradInverse * s[1] * s[1] * s[1] * centred / n;
                double terms = Math.abs(gradOut[r * n + i] * weight[i]) * s[1]
                        + size / n * s[1] * (1 + Math.abs(centred) * s[1]);
                gradX.add(r * n + i, value, terms * (1 + s[1]));
            }
        }
        return new Bounded[] {gradX, gradWeight, gradBias};
    }

    @ParameterizedTest
    @EnumSource
    void layerNormAndItsGradientsAreTheirDefinitions(DType dtype) {
        for (int n : WIDTHS) {
            NativeCpu.useThreads(1 + n % 3);
            DType gradType = DType.values()[n % 3];
            try (Guarded memory = new Guarded()) {
                int rows = 133;
                Tensor x = memory.random(dtype, 2, rows, n);
                Tensor weight = memory.random(dtype, 2, n), bias = memory.random(dtype, 1, n);
                Tensor out = memory.empty(dtype, rows, n), statistics = memory.empty(DType.F32, rows, 2);
                String what = x + ", seed " + memory.seed;
                double[] xs = Guarded.read(x), ws = Guarded.read(weight);
                ops.layerNorm(out, statistics, x, weight, bias, EPS);
                layerNorm(xs, ws, Guarded.read(bias)).check("norm of " + what, 4.0 * n + 12, out);
                Tensor gradOut = memory.random(dtype, 1, rows, n), gradX = memory.empty(dtype, rows, n);
                Tensor gradWeight = memory.random(gradType, 1, n), gradBias = memory.random(gradType, 1, n);
                Bounded[] expected = layerNormBackward(Guarded.read(gradOut), xs, ws);
                ops.layerNormBackward(gradX, gradWeight, gradBias, gradOut, x, statistics, weight);
                expected[0].check("gradX of " + what, 8.0 * n + 24, gradX);
                expected[1].check("gradWeight of " + what, 4.0 * n + rows + 12, gradWeight);
                expected[2].check("gradBias of " + what, rows + 4, gradBias);
                ops.layerNormBackward(x, null, null, gradOut, x, statistics, weight);
                assertArrayEquals(Guarded.bytes(gradX), Guarded.bytes(x), "in place, with frozen weights");
            }
        }
    }

    @Test
    void layerNormAgreesWithFiniteDifferences() {
        try (Guarded memory = new Guarded()) {
            int n = 33, rows = 3;
            Tensor x = memory.random(DType.F32, 2, rows, n), statistics = memory.empty(DType.F32, rows, 2);
            Tensor weight = memory.random(DType.F32, 1, n), bias = memory.random(DType.F32, 1, n);
            Tensor gradOut = memory.random(DType.F32, 1, rows, n), gradX = memory.empty(DType.F32, rows, n);
            ops.layerNorm(gradX, statistics, x, weight, bias, EPS);
            ops.layerNormBackward(gradX, null, null, gradOut, x, statistics, weight);
            double[] ws = Guarded.read(weight), bs = Guarded.read(bias);
            FiniteDifferences.check(
                    "seed " + memory.seed,
                    memory.random,
                    v -> layerNorm(v, ws, bs).values,
                    Guarded.read(x),
                    Guarded.read(gradOut),
                    gradX,
                    1e-5);
        }
    }

    private static double gelu(double x) {
        return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    private static double geluSlope(double x) {
        double scale = Math.sqrt(2 / Math.PI), t = Math.tanh(scale * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
    }

    @ParameterizedTest
    @EnumSource
    void geluAndItsGradientAreTheirDefinitions(DType dtype) {
        for (double range : new double[] {0.01, 1, 6, 60}) {
            for (int n : new int[] {1, 3, 17, 65, 511, 513, 2049, 5000}) {
                try (Guarded memory = new Guarded()) {
                    checkGelu(memory, memory.random(dtype, range, 3, n), null);
                }
                try (Guarded memory = new Guarded()) {
                    Tensor bias = memory.random(dtype, range, n);
                    checkGelu(memory, memory.random(dtype, range, 3, n), bias);
                }
            }
        }
    }

    private void checkGelu(Guarded memory, Tensor x, Tensor bias) {
        long rows = x.rows(), n = x.columns();
        Tensor out = memory.empty(x.dtype(), rows, n), grad = memory.empty(x.dtype(), rows, n);
        Tensor gradOut = memory.random(x.dtype(), 1, rows, n);
        double[] xs = Reference.addBias(Guarded.read(x), bias == null ? null : Guarded.read(bias));
        double[] gs = Guarded.read(gradOut);
        Bounded values = new Bounded(xs.length), slopes = new Bounded(xs.length);
        for (int i = 0; i < xs.length; i++) {
            values.add(i, gelu(xs[i]), Math.abs(xs[i]));
            slopes.add(i, gs[i] * geluSlope(xs[i]), Math.abs(gs[i]) * (1 + xs[i] * xs[i]));
        }
        String what = x + (bias == null ? "" : " with a bias") + ", seed " + memory.seed;
        ops.gelu(out, x, bias);
        values.check("gelu of " + what, 24, out);
        ops.geluBackward(grad, gradOut, x, bias);
        slopes.check("gradient of " + what, 48, grad);
        ops.geluBackward(x, gradOut, x, bias);
        assertArrayEquals(Guarded.bytes(grad), Guarded.bytes(x));
    }

    @ParameterizedTest
    @EnumSource
    void biasesAndScaledSums(DType dtype) {
        for (int n : WIDTHS) {
            try (Guarded memory = new Guarded()) {
                Tensor x = memory.random(dtype, 1, 5, n), bias = memory.random(dtype, 1, n);
                Tensor other = memory.random(dtype, 1, 5, n), out = memory.empty(dtype, 5, n);
                double[] xs = Guarded.read(x), bs = Guarded.read(bias), os = Guarded.read(other);
                Bounded sums = new Bounded(5 * n), biased = new Bounded(5 * n);
                for (int i = 0; i < 5 * n; i++) {
                    sums.add(i, xs[i]);
                    sums.add(i, 7.5 * os[i]);
                    biased.add(i, xs[i]);
                    biased.add(i, bs[i % n]);
                }
                ops.addScaled(out, x, other, 7.5f);
                sums.check("sum, seed " + memory.seed, 2, out);
                ops.addBias(x, bias);
                biased.check("biased, seed " + memory.seed, 1, x);
            }
        }
    }
}
