package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Four-bit weights and eight-bit scales: codes are the nearest levels, and what they stand for is their definition. */
@Tag("any-device")
@Tag("instruction-set")
class Nf4Test {
    private final Ops ops = TestedOps.get();

    private static double[] levels(Guarded memory) {
        Tensor one = memory.of(DType.F32, new double[] {1}, 1);
        Tensor codes = memory.empty(DType.F32, 2);
        Tensor out = memory.empty(DType.F32, 16);
        ByteBuffer bytes = HostBytes.view(codes.address(), 8);
        for (int i = 0; i < 8; i++) {
            bytes.put(i, (byte) (2 * i << 4 | 2 * i + 1));
        }
        NativeCpu.nf4Dequantize(out.address(), DType.F32.code, codes.address(), one.address(), 16);
        return Guarded.read(out);
    }

    @ParameterizedTest
    @EnumSource
    void everyValueBecomesTheNearestLevelOfItsBlock(DType dtype) {
        for (int n : new int[] {2, 64, 66, 128, 1000, 16384}) {
            try (Guarded memory = new Guarded()) {
                double[] levels = levels(memory);
                Tensor x = memory.random(DType.F32, 3, n);
                Tensor codes = memory.empty(DType.F32, (n + 7) / 8);
                Tensor absmax = memory.empty(DType.F32, (n + 63) / 64);
                NativeCpu.nf4Quantize(codes.address(), absmax.address(), x.address(), n);
                Tensor out = memory.empty(dtype, n);
                ops.dequantizeNf4(out, codes, absmax);
                double[] values = Guarded.read(x), found = Guarded.read(out), scales = Guarded.read(absmax);
                for (int i = 0; i < n; i++) {
                    double best = Double.MAX_VALUE;
                    for (double level : levels) {
                        best = Math.min(best, Math.abs(values[i] - level * scales[i / 64]));
                    }
                    double rounded = Numbers.roundoff(dtype) * scales[i / 64] + 1e-6 * scales[i / 64];
                    assertEquals(best, Math.abs(values[i] - found[i]), rounded, "element " + i + ", " + memory.seed);
                }
            }
        }
    }

    @Test
    void aBlockOfZerosStaysZero() {
        try (Guarded memory = new Guarded()) {
            Tensor x = memory.of(DType.F32, new double[64], 64);
            Tensor codes = memory.empty(DType.F32, 8), absmax = memory.empty(DType.F32, 1);
            Tensor out = memory.empty(DType.F32, 64);
            NativeCpu.nf4Quantize(codes.address(), absmax.address(), x.address(), 64);
            ops.dequantizeNf4(out, codes, absmax);
            for (double value : Guarded.read(out)) {
                assertEquals(0, value);
            }
            assertEquals((byte) 0x77, Guarded.bytes(codes)[0]);
        }
    }

    @Test
    void scalesBecomeTheNearestOf256Levels() {
        for (int n : new int[] {1, 255, 256, 257, 700}) {
            try (Guarded memory = new Guarded()) {
                Tensor map = memory.empty(DType.F32, 256);
                NativeCpu.dynamicLevels(map.address());
                Tensor x = memory.random(DType.F32, 1, n);
                Tensor codes = memory.empty(DType.F32, (n + 3) / 4), nested = memory.empty(DType.F32, (n + 255) / 256);
                Tensor out = memory.empty(DType.F32, n);
                NativeCpu.absmaxQuantize(codes.address(), nested.address(), x.address(), 0.25f, n);
                ops.dequantizeAbsmax(out, codes, nested, 0.25f);
                double[] values = Guarded.read(x), found = Guarded.read(out), tops = Guarded.read(nested);
                for (int i = 0; i < n; i++) {
                    double best = Double.MAX_VALUE;
                    for (double level : Guarded.read(map)) {
                        best = Math.min(best, Math.abs(values[i] - 0.25 - level * tops[i / 256]));
                    }
                    assertEquals(best, Math.abs(values[i] - found[i]), 1e-6, "scale " + i + ", " + memory.seed);
                }
            }
        }
    }

    @Test
    void tooFewCodesOrScalesAreRefused() {
        try (Guarded memory = new Guarded()) {
            Tensor out = memory.empty(DType.F32, 128), codes = memory.empty(DType.F32, 15);
            Tensor absmax = memory.empty(DType.F32, 2);
            assertThrows(IllegalArgumentException.class, () -> ops.dequantizeNf4(out, codes, absmax));
            Tensor enough = memory.empty(DType.F32, 16), one = memory.empty(DType.F32, 1);
            assertThrows(IllegalArgumentException.class, () -> ops.dequantizeNf4(out, enough, one));
            assertThrows(IllegalArgumentException.class, () -> ops.dequantizeAbsmax(out, enough, one, 0));
        }
    }

    @Test
    void theMapOfScalesRisesFromMinusOneToOne() {
        try (Guarded memory = new Guarded()) {
            Tensor map = memory.empty(DType.F32, 256);
            NativeCpu.dynamicLevels(map.address());
            double[] levels = Guarded.read(map);
            assertEquals(1, levels[255]);
            for (int i = 1; i < 256; i++) {
                assertTrue(levels[i] > levels[i - 1], "level " + i);
            }
        }
    }
}
