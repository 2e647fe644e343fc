package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.OptimizerOps.Adamw;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Several steps against the update rule in double precision. A step makes about sixteen roundings of a weight and of its
 * update, whose magnitude is taken with the first moment's terms added up by absolute value.
 */
@Tag("instruction-set")
@Tag("any-device")
class AdamWTest {
    private static final double BETA_1 = 0.9, BETA_2 = 0.999, DECAY = 0.1;
    private static final int STEPS = 6, ROUNDINGS = 16;

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void severalStepsFollowTheUpdateRule(DType paramType) {
        for (int n : new int[] {1, 2, 3, 7, 17, 33, 255, 257, 4095, 4097, 9001}) {
            for (double range : new double[] {1e-12, 1, 1e6}) {
                NativeCpu.useThreads(1 + n % 3);
                try (Guarded memory = new Guarded()) {
                    check(memory, paramType, n, range);
                }
            }
        }
    }

    private static void check(Guarded memory, DType paramType, int n, double range) {
        float rate = 1e-2f, eps = 1e-8f, gradScale = 0.37f;
        Tensor master = memory.random(DType.F32, 1, n), param = memory.empty(paramType, n);
        Tensor first = memory.of(DType.F32, new double[n], n), second = memory.of(DType.F32, new double[n], n);
        Bounded weights = new Bounded(Guarded.read(master), new double[n]);
        Arrays.setAll(weights.magnitudes, i -> Math.abs(weights.values[i]));
        Bounded moments = new Bounded(n), squares = new Bounded(n);
        String what = "%d of %s, gradients of %s, seed %d".formatted(n, paramType, range, memory.seed);
        for (int step = 1; step <= STEPS; step++) {
            Tensor grad = memory.random(DType.F32, range, n);
            double correction1 = 1 - Math.pow(BETA_1, step), correction2 = 1 - Math.pow(BETA_2, step);
            Adamw settings = new Adamw(
                    rate, BETA_1, BETA_2, eps, (float) DECAY, (float) correction1, (float) correction2, gradScale);
            TestedOps.get().adamw(master, first, second, grad, param, settings);
            double[] grads = Guarded.read(grad);
            for (int i = 0; i < n; i++) {
                double g = grads[i] * gradScale;
                moments.values[i] = BETA_1 * moments.values[i] + (1 - BETA_1) * g;
                moments.magnitudes[i] = BETA_1 * moments.magnitudes[i] + (1 - BETA_1) * Math.abs(g);
                squares.values[i] = BETA_2 * squares.values[i] + (1 - BETA_2) * g * g;
                squares.magnitudes[i] = squares.values[i];
                double factor = rate / correction1 / (Math.sqrt(squares.values[i] / correction2) + eps);
                weights.values[i] *= 1 - rate * DECAY;
                weights.add(i, -factor * moments.values[i], factor * moments.magnitudes[i]);
            }
            moments.check("first moment, step " + step + ", " + what, ROUNDINGS * step, first);
            squares.check("second moment, step " + step + ", " + what, ROUNDINGS * step, second);
            weights.check("weights, step " + step + ", " + what, ROUNDINGS * step, master);
            Tensor rounded = memory.of(paramType, Guarded.read(master), n);
            assertArrayEquals(Guarded.bytes(rounded), Guarded.bytes(param), "parameters, " + what);
        }
    }

    @Test
    void withoutParametersOnlyTheStateIsUpdated() {
        try (Guarded memory = new Guarded()) {
            Tensor master = memory.of(DType.F32, new double[] {1, 1, 1}, 3);
            Tensor grad = memory.of(DType.F32, new double[] {1, -2, 0}, 3);
            Tensor first = memory.of(DType.F32, new double[3], 3), second = memory.of(DType.F32, new double[3], 3);
            NativeCpu.adamw(
                    master.address(),
                    first.address(),
                    second.address(),
                    grad.address(),
                    0,
                    DType.BF16.code,
                    3,
                    0.5f,
                    0.9,
                    0.999,
                    1e-8f,
                    0,
                    0.1f,
                    0.001f,
                    1);
            // The first step moves by the rate against the gradient's sign, and not at all without a gradient.
            assertArrayEquals(new double[] {0.5, 1.5, 1}, Guarded.read(master), 1e-6);
        }
    }
}
