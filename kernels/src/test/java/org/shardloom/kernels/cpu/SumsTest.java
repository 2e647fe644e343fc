package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

@Tag("any-device")
@Tag("instruction-set")
class SumsTest {
    private static final int[] LENGTHS = {1, 2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 2047, 2049, 4097, 9001};
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void additionRoundsOnceAndMayBeInPlace(DType dtype) {
        for (int n : LENGTHS) {
            NativeCpu.useThreads(1 + n % 3);
            for (int alias = 0; alias < 4; alias++) {
                try (Guarded memory = new Guarded()) {
                    Tensor a = memory.random(dtype, 100, n), b = alias == 3 ? a : memory.random(dtype, 1, n);
                    double[] left = Guarded.read(a), right = Guarded.read(b), expected = new double[n];
                    // The kernel's sum is an fp32 number before it is rounded to the dtype.
                    Arrays.setAll(expected, i -> Numbers.round(dtype, (float) left[i] + (float) right[i]));
                    Tensor out = alias == 0 ? memory.empty(dtype, n) : alias == 1 ? a : b;
                    ops.add(out, a, b);
                    assertArrayEquals(expected, Guarded.read(out), a + ", alias " + alias + ", seed " + memory.seed);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void columnsAreSummedOverAllRows(DType dtype) {
        for (int n : new int[] {1, 2, 3, 7, 17, 33, 65, 255, 256, 257, 513}) {
            for (DType outType : DType.values()) {
                for (boolean accumulate : new boolean[] {false, true}) {
                    NativeCpu.useThreads(1 + n % 3);
                    try (Guarded memory = new Guarded()) {
                        int rows = memory.awkwardSize();
                        Tensor x = memory.random(dtype, 1, rows, n), out = memory.random(outType, 1, n);
                        Bounded expected = new Bounded(n);
                        double[] values = Guarded.read(x), start = Guarded.read(out);
                        for (int i = 0; i < values.length; i++) {
                            expected.add(i % n, values[i]);
                        }
                        for (int i = 0; i < n && accumulate; i++) {
                            expected.add(i, start[i]);
                        }
                        ops.columnSum(out, x, accumulate);
                        String what = "%s to %s, accumulate %s, seed %d".formatted(x, outType, accumulate, memory.seed);
                        expected.check(what, rows, out);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void sourcesAreSummedInTheOrderGiven(DType dtype) {
        for (int n : LENGTHS) {
            for (int count = 1; count <= 5; count++) {
                NativeCpu.useThreads(1 + n % 3);
                for (boolean accumulate : new boolean[] {false, true}) {
                    try (Guarded memory = new Guarded()) {
                        sources(memory, dtype, n, count, accumulate);
                    }
                }
            }
        }
    }

    private static void sources(Guarded memory, DType dtype, int n, int count, boolean accumulate) {
        Tensor addresses = memory.empty(DType.F32, count, 2), out = memory.random(DType.F32, 1, n);
        double[] start = Guarded.read(out);
        float[] expected = new float[n];
        for (int i = 0; i < n && accumulate; i++) {
            expected[i] = (float) start[i];
        }
        for (int s = 0; s < count; s++) {
            Tensor source = memory.random(dtype, Math.pow(10, s), n);
            double[] values = Guarded.read(source);
            for (int i = 0; i < n; i++) {
                expected[i] += (float) values[i];
            }
            HostBytes.view(addresses.address(), addresses.bytes()).putLong(8 * s, source.address());
        }
        NativeCpu.sumSources(out.address(), accumulate, addresses.address(), count, dtype.code, n);
        double[] found = Guarded.read(out);
        for (int i = 0; i < n; i++) {
            assertEquals(expected[i], (float) found[i], "element " + i + " of " + n + ", seed " + memory.seed);
        }
    }

    @Test
    void squaresAreSummedInDoublePrecision() {
        for (int n : LENGTHS) {
            for (double range : new double[] {1, 1e18, 3e38}) {
                try (Guarded memory = new Guarded()) {
                    Tensor x = memory.random(DType.F32, range, n);
                    double expected =
                            Arrays.stream(Guarded.read(x)).map(v -> v * v).sum();
                    NativeCpu.useThreads(1);
                    double alone = ops.sumOfSquares(x);
                    NativeCpu.useThreads(3);
                    assertEquals(alone, ops.sumOfSquares(x), "with threads; seed " + memory.seed);
                    assertEquals(expected, alone, expected * n * Math.ulp(1.0), x + ", seed " + memory.seed);
                }
            }
        }
    }

    @Test
    void squaresOfAnythingButFp32AreRefused() {
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.random(DType.BF16, 1, 8);
            assertThrows(IllegalArgumentException.class, () -> ops.sumOfSquares(x));
        }
    }

    @Test
    void zeroFillAndCopyTouchExactlyTheirBytes() {
        for (int bytes : new int[] {2, 6, 4098, (1 << 20) - 2, (1 << 20) + 2, (3 << 20) + 6}) {
            try (Guarded memory = new Guarded()) {
                Tensor from = memory.random(DType.BF16, 1, bytes / 2), to = memory.empty(DType.BF16, bytes / 2);
                NativeCpu.copy(to.address(), from.address(), bytes);
                assertArrayEquals(Guarded.bytes(from), Guarded.bytes(to), "seed " + memory.seed);
                ops.zero(to);
                assertArrayEquals(new byte[bytes], Guarded.bytes(to), "seed " + memory.seed);
            }
        }
    }
}
