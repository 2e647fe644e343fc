package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Products against double precision; k terms and one more for what is accumulated onto, so k + 1 roundings. */
@Tag("instruction-set")
class GemmTest {
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    private interface Gemm {
        void run(
                long m,
                long n,
                long k,
                long a,
                int aType,
                long aRow,
                long aColumn,
                long b,
                int bType,
                long bRow,
                long bColumn,
                long c,
                int cType,
                long ldc,
                boolean accumulate);
    }

    /** A product whose operands lie as they come or transposed, with pad unused elements at the end of each row. */
    private record Case(
            int m,
            int n,
            int k,
            DType aType,
            DType bType,
            DType cType,
            boolean aTransposed,
            boolean bTransposed,
            int pad,
            boolean accumulate) {
        void check() {
            try (Guarded memory = new Guarded()) {
                Tensor a = matrix(memory, aType, aTransposed ? k : m, aTransposed ? m : k);
                Tensor b = matrix(memory, bType, bTransposed ? n : k, bTransposed ? k : n);
                int aLine = (aTransposed ? m : k) + pad, bLine = (bTransposed ? k : n) + pad, ldc = n + pad;
                int aRow = aTransposed ? 1 : aLine, aColumn = aTransposed ? aLine : 1;
                int bRow = bTransposed ? 1 : bLine, bColumn = bTransposed ? bLine : 1;
                Tensor before = memory.random(cType, 1, m, ldc);
                double[] padded = Guarded.read(before), start = new double[m * n];
                for (int i = 0; i < m * n; i++) {
                    start[i] = padded[i / n * ldc + i % n];
                }
                double[] left = Guarded.read(a), right = Guarded.read(b);
                Bounded product = Reference.product(
                        m, n, k, left, aRow, aColumn, right, bRow, bColumn, accumulate ? start : null);
                for (Gemm gemm : new Gemm[] {NativeCpu::gemm, NativeCpu::gemmOwn}) {
                    Tensor c = memory.of(cType, padded, m, ldc);
                    gemm.run(
                            m,
                            n,
                            k,
                            a.address(),
                            aType.code,
                            aRow,
                            aColumn,
                            b.address(),
                            bType.code,
                            bRow,
                            bColumn,
                            c.address(),
                            cType.code,
                            ldc,
                            accumulate);
                    double[] found = Guarded.read(c), inside = new double[m * n];
                    for (int i = 0; i < m * ldc; i++) {
                        if (i % ldc < n) {
                            inside[i / ldc * n + i % ldc] = found[i];
                        } else {
                            assertEquals(padded[i], found[i], this + " wrote beside C; seed " + memory.seed);
                        }
                    }
                    product.check(this + ", seed " + memory.seed, k + 1, memory.of(cType, inside, m, n));
                }
            }
        }

        private Tensor matrix(Guarded memory, DType dtype, int rows, int columns) {
            return memory.random(dtype, 1, rows, columns + pad);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void productsOfAnySizeLayoutAndDtypeAreRight(int threads) {
        NativeCpu.useThreads(threads);
        try (Guarded draw = new Guarded()) {
            DType[] dtypes = DType.values();
            for (int i = 0; i < 120; i++) {
                new Case(
                                draw.awkwardSize(),
                                draw.awkwardSize(),
                                draw.awkwardSize(),
                                dtypes[draw.random.nextInt(3)],
                                dtypes[draw.random.nextInt(3)],
                                dtypes[draw.random.nextInt(3)],
                                draw.random.nextBoolean(),
                                draw.random.nextBoolean(),
                                draw.random.nextInt(3) == 0 ? 5 : 0,
                                draw.random.nextBoolean())
                        .check();
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void productsLargerThanEveryBlockOfTheKernelAreRight(DType dtype) {
        for (int form = 0; form < 3; form++) {
            boolean accumulate = form != 0;
            new Case(130, 700, 600, dtype, dtype, dtype, form == 2, form == 0, 0, accumulate).check();
        }
        new Case(260, 41, 257, dtype, dtype, DType.F32, false, true, 3, true).check();
        // Of few columns, which are computed as rows.
        new Case(2070, 8, 513, dtype, DType.F32, DType.F32, false, true, 3, false).check();
        new Case(1300, 14, 300, dtype, DType.F32, dtype, true, false, 0, true).check();
        new Case(33, 401, 513, dtype, dtype, DType.BF16, true, false, 3, true).check();
    }

    /** Blocks of the AMX code: 1,024 or 512 of the shorter side, 4,096 terms, 1,024 of the longer side where there are more terms. */
    @Test
    void productsLargerThanEveryBlockOfTheTileUnitAreRight() {
        int[][] shapes = {
            {1100, 1090, 33}, {530, 550, 520}, {70, 40, 8300}, {1060, 33, 4130}, {34, 300, 1030}, {300, 300, 4200}
        };
        for (int[] shape : shapes) {
            for (int form = 0; form < 4; form++) {
                boolean aTransposed = form % 2 == 1, bTransposed = form / 2 == 1;
                DType c = form == 1 ? DType.BF16 : DType.F32;
                new Case(shape[0], shape[1], shape[2], DType.BF16, DType.BF16, c, aTransposed, bTransposed, 3, form > 0)
                        .check();
            }
        }
    }

    @Test
    void longAndThinProductsAreRight() {
        int[][] shapes = {{1, 700, 600}, {700, 1, 600}, {257, 255, 1}, {3, 2, 20000}, {1, 1, 100_001}, {2, 65_537, 1}};
        for (int[] shape : shapes) {
            for (int form = 0; form < 4; form++) {
                boolean aTransposed = form % 2 == 1, bTransposed = form / 2 == 1;
                DType c = form == 3 ? DType.BF16 : DType.F32;
                new Case(shape[0], shape[1], shape[2], DType.F32, DType.F32, c, aTransposed, bTransposed, 0, form > 1)
                        .check();
            }
        }
    }

    @Test
    void anEmptySumIsZeroOrLeavesWhatWasThere() {
        for (DType dtype : DType.values()) {
            for (boolean accumulate : new boolean[] {false, true}) {
                new Case(7, 33, 0, dtype, dtype, dtype, false, true, 2, accumulate).check();
            }
        }
    }

    @Test
    void nothingIsWrittenWhereThereAreNoRows() {
        new Case(0, 33, 7, DType.F32, DType.F32, DType.F32, false, true, 0, false).check();
        new Case(33, 0, 7, DType.F32, DType.F32, DType.F32, false, true, 0, false).check();
    }

    @Tag("any-device")
    @ParameterizedTest
    @EnumSource
    void theLinearLayerAndItsGradientsAreTheirDefinitions(DType dtype) {
        int[][] shapes = {{1, 1, 1}, {17, 65, 31}, {63, 33, 257}, {255, 64, 96}};
        for (int[] s : shapes) {
            for (DType other : new DType[] {dtype, DType.F32}) {
                for (boolean accumulate : new boolean[] {false, true}) {
                    linear(s[0], s[1], s[2], dtype, other, accumulate);
                }
            }
        }
    }

    private void linear(int t, int n, int k, DType dtype, DType other, boolean accumulate) {
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.random(dtype, 1, t, k), weight = memory.random(dtype, 1, n, k);
            Tensor gradY = memory.random(dtype, 1, t, n), y = memory.empty(other, t, n);
            Tensor gradX = memory.random(other, 1, t, k), gradWeight = memory.random(other, 1, n, k);
            double[] xs = Guarded.read(x), ws = Guarded.read(weight), gs = Guarded.read(gradY);
            double[] startX = accumulate ? Guarded.read(gradX) : null;
            double[] startWeight = accumulate ? Guarded.read(gradWeight) : null;
            ops.linear(y, x, weight);
            ops.linearBackwardInput(gradX, gradY, weight, accumulate);
            ops.linearBackwardWeight(gradWeight, gradY, x, accumulate);
            String what = "%s, %s, accumulate %s, seed %d".formatted(x, weight, accumulate, memory.seed);
            Reference.product(t, n, k, xs, k, 1, ws, 1, k, null).check("y of " + what, k, y);
            Reference.product(t, k, n, gs, n, 1, ws, k, 1, startX).check("gradX of " + what, n + 1, gradX);
            Reference.product(n, k, t, gs, 1, n, xs, k, 1, startWeight)
                    .check("gradWeight of " + what, t + 1, gradWeight);
        }
    }
}
