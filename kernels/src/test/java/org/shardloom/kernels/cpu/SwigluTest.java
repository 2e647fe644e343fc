package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The exponential is good to about two roundings, and about six operations follow. */
@Tag("any-device")
@Tag("instruction-set")
class SwigluTest {
    private static final int ROUNDINGS = 10;
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void theFunctionAndItsGradientAreTheirDefinitionsAtAnyWidth(DType dtype) {
        for (int n : new int[] {1, 2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 511, 513, 1025}) {
            for (double range : new double[] {1, 20, 100}) {
                NativeCpu.useThreads(1 + n % 3);
                try (Guarded memory = new Guarded()) {
                    check(memory, memory.random(dtype, range, 5, 2 * n), null);
                }
                try (Guarded memory = new Guarded()) {
                    Tensor bias = memory.random(dtype, range, 2 * n);
                    check(memory, memory.random(dtype, range, 5, 2 * n), bias);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void gatesFarFromZeroSaturate(DType dtype) {
        double[] extremes = dtype == DType.F16
                ? new double[] {-60000, -88.5, -88.3, -87.4, -87.3, -20, -0.0, 0, 1e-6, 20, 88.5, 60000}
                : new double[] {-3e38, -1e30, -88.5, -88.3, -87.4, -87.3, -0.0, 0, 1e-30, 88.5, 1e30, 3e38};
        double[] gateUp = new double[2 * extremes.length];
        for (int i = 0; i < extremes.length; i++) {
            gateUp[i] = extremes[i];
            gateUp[extremes.length + i] = i % 2 == 0 ? 0.75 : -0.5;
        }
        try (Guarded memory = new Guarded()) {
            check(memory, memory.of(dtype, gateUp, 1, gateUp.length), null);
        }
    }

    private void check(Guarded memory, Tensor gateUp, Tensor bias) {
        long rows = gateUp.rows(), n = gateUp.columns() / 2;
        Tensor out = memory.empty(gateUp.dtype(), rows, n), gradOut = memory.random(gateUp.dtype(), 1, rows, n);
        double[] inputs = Reference.addBias(Guarded.read(gateUp), bias == null ? null : Guarded.read(bias));
        String what = gateUp + (bias == null ? "" : " with a bias") + ", seed " + memory.seed;
        ops.swiglu(out, gateUp, bias);
        Reference.swiglu(inputs, (int) n).check("swiglu of " + what, ROUNDINGS, out);
        Bounded expected = Reference.swigluBackward(Guarded.read(gradOut), inputs, (int) n);
        Tensor grad = memory.empty(gateUp.dtype(), rows, 2 * n);
        ops.swigluBackward(grad, gradOut, gateUp, bias);
        expected.check("gradient of " + what, ROUNDINGS, grad);
        ops.swigluBackward(gateUp, gradOut, gateUp, bias);
        expected.check("gradient in place of " + what, ROUNDINGS, gateUp);
    }

    @Test
    void theGradientAgreesWithFiniteDifferences() {
        try (Guarded memory = new Guarded()) {
            Tensor gateUp = memory.random(DType.F32, 4, 3, 34), gradOut = memory.random(DType.F32, 1, 3, 17);
            Tensor grad = memory.empty(DType.F32, 3, 34);
            ops.swigluBackward(grad, gradOut, gateUp, null);
            FiniteDifferences.check(
                    "seed " + memory.seed,
                    memory.random,
                    v -> Reference.swiglu(v, 17).values,
                    Guarded.read(gateUp),
                    Guarded.read(gradOut),
                    grad,
                    1e-5); // terms of at most 4: twenty roundings
        }
    }

    @Test
    void notANumberStaysNotANumber() {
        try (Guarded memory = new Guarded()) {
            Tensor gateUp = memory.of(DType.F32, new double[] {Double.NaN, 1, 2, 3}, 1, 4);
            Tensor out = memory.empty(DType.F32, 1, 2);
            ops.swiglu(out, gateUp, null);
            assertTrue(Double.isNaN(Guarded.read(out)[0]));
        }
    }
}
