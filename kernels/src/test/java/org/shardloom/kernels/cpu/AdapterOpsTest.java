package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Operations of adapters and prefixes against double precision. */
@Tag("any-device")
@Tag("instruction-set")
class AdapterOpsTest {
    private static final int[][] SIZES = {
        {1, 1, 1, 1, 0},
        {5, 7, 3, 2, 1},
        {33, 31, 65, 8, 17},
        {64, 96, 40, 16, 56},
        {300, 520, 1100, 8, 3},
        {257, 140, 700, 33, 2}
    };
    private final Ops ops = TestedOps.get();

    @ParameterizedTest
    @EnumSource
    void productsIntoAndFromARangeOfColumnsLeaveTheOthersAlone(DType type) {
        for (int[] size : SIZES) {
            int t = size[0], width = size[1], k = size[2], r = size[3], from = Math.min(size[4], width - 1);
            int n = Math.min(width - from, t > 256 ? 130 : 9);
            try (Guarded memory = new Guarded()) {
                String what = Arrays.toString(size) + " " + type + ", seed " + memory.seed;
                Tensor y = memory.random(type, 1, t, width), x = memory.random(DType.F32, 1, t, r);
                Tensor b = memory.random(DType.F32, 1, n, r);
                double[] before = Guarded.read(y), xs = Guarded.read(x), bs = Guarded.read(b);
                ops.linearAdd(new Columns(y, from, n), x, b);
                Bounded sum = new Bounded(t * width);
                for (int i = 0; i < t * width; i++) {
                    sum.add(i, before[i]);
                    int column = i % width - from;
                    for (int j = 0; j < r && column >= 0 && column < n; j++) {
                        sum.add(i, xs[i / width * r + j] * bs[column * r + j]);
                    }
                }
                sum.check("linearAdd " + what, r + 2, y);

                Tensor gradY = memory.random(type, 1, t, width), input = memory.random(type, 1, t, k);
                Tensor gradInner = memory.random(DType.F32, 1, t, r), gradB = memory.empty(DType.F32, n, k);
                double[] start = Guarded.read(gradInner), g = Guarded.read(gradY), in = Guarded.read(input);
                ops.linearBackwardInput(gradInner, new Columns(gradY, from, n), b, true);
                ops.linearBackwardWeight(gradB, new Columns(gradY, from, n), input);
                Bounded inner = new Bounded(t * r), weight = new Bounded(n * k);
                for (int i = 0; i < t; i++) {
                    for (int j = 0; j < r; j++) {
                        inner.add(i * r + j, start[i * r + j]);
                    }
                    for (int c = 0; c < n; c++) {
                        double grad = g[i * width + from + c];
                        for (int j = 0; j < r; j++) {
                            inner.add(i * r + j, grad * bs[c * r + j]);
                        }
                        for (int j = 0; j < k; j++) {
                            weight.add(c * k + j, grad * in[i * k + j]);
                        }
                    }
                }
                inner.check("linearBackwardInput " + what, n + 2, gradInner);
                weight.check("linearBackwardWeight " + what, t + 2, gradB);
            }
        }
    }

    @Test
    void columnsOutsideTheMatrixAreRefused() {
        Tensor y = new Tensor(0, DType.F32, 2, 4),
                x = new Tensor(0, DType.F32, 2, 3),
                w = new Tensor(0, DType.F32, 3, 3);
        assertThrows(IllegalArgumentException.class, () -> ops.linearAdd(new Columns(y, 2, 3), x, w));
        assertThrows(IllegalArgumentException.class, () -> ops.linearAdd(new Columns(y, -1, 3), x, w));
        assertThrows(IllegalArgumentException.class, () -> ops.linearAdd(new Columns(y, 0, 2), x, w));
        assertThrows(IllegalArgumentException.class, () -> ops.dropout(y, y, 1, 1));
    }

    @ParameterizedTest
    @EnumSource
    void valuesAreScaled(DType type) {
        for (int n : new int[] {1, 17, 2049, 5000}) {
            try (Guarded memory = new Guarded()) {
                Tensor x = memory.random(type, 1, n);
                Bounded expected = new Bounded(n);
                double[] before = Guarded.read(x);
                for (int i = 0; i < n; i++) {
                    expected.add(i, before[i] * 0.3f);
                }
                ops.scale(x, 0.3f);
                expected.check("scale, seed " + memory.seed, 1, x);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void dropoutKeepsAShareByKeyAndPlaceAlone(DType type) {
        int n = 40_000;
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.of(type, ones(n), n), out = memory.empty(type, n), again = memory.empty(type, n);
            for (float rate : new float[] {0, 0.1f, 0.5f, 0.9f}) {
                ops.dropout(out, x, 77, rate);
                NativeCpu.useThreads(1);
                ops.dropout(again, x, 77, rate);
                NativeCpu.useThreads(2);
                double[] values = Guarded.read(out);
                assertArrayEquals(values, Guarded.read(again), "the same on any number of threads");
                double kept = Numbers.decode(type, Numbers.encode(type, 1 / (1 - (double) rate)));
                long count = Arrays.stream(values).filter(v -> v != 0).count();
                for (double v : values) {
                    assertTrue(v == 0 || Math.abs(v - kept) <= 2 * Numbers.roundoff(type) * kept, v + " of " + kept);
                }
                double deviation = Math.sqrt(n * rate * (1 - rate));
                assertEquals(n * (1 - rate), count, 6 * deviation + 1e-9, "rate " + rate);
            }
            ops.dropout(out, x, 77, 0.5f);
            ops.dropout(again, x, 78, 0.5f);
            assertFalse(Arrays.equals(Guarded.read(out), Guarded.read(again)), "another key, another choice");
        }
    }

    @Test
    void hyperbolicTangentAndItsGradient() {
        int n = 1003;
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.random(DType.F32, 4, n),
                    y = memory.empty(DType.F32, n),
                    g = memory.random(DType.F32, 1, n);
            double[] in = Guarded.read(x), grad = Guarded.read(g);
            ops.tanh(y, x);
            double[] out = Guarded.read(y);
            ops.tanhBackward(g, g, y);
            double[] found = Guarded.read(g);
            for (int i = 0; i < n; i++) {
                double expected = Math.tanh(in[i]);
                assertEquals(expected, out[i], 2e-7, "seed " + memory.seed);
                assertEquals(grad[i] * (1 - expected * expected), found[i], 1e-6, "seed " + memory.seed);
            }
        }
    }

    private static double[] ones(int n) {
        double[] values = new double[n];
        Arrays.fill(values, 1);
        return values;
    }
}
