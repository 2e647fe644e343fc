package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ShortBuffer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

@Tag("any-device")
@Tag("instruction-set")
class ConvertTest {
    private static final int PATTERNS = 0x10000;
    private final Ops ops = TestedOps.get();

    private static Tensor allPatterns(Guarded memory, DType dtype) {
        Tensor all = memory.empty(dtype, PATTERNS);
        ShortBuffer shorts = HostBytes.view(all.address(), all.bytes()).asShortBuffer();
        for (int i = 0; i < PATTERNS; i++) {
            shorts.put(i, (short) i);
        }
        return all;
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "F16"})
    void every16BitPatternWidensToItsDefinedValueAndComesBack(DType dtype) {
        try (Guarded memory = new Guarded()) {
            Tensor wide = memory.empty(DType.F32, PATTERNS), back = memory.empty(dtype, PATTERNS);
            ops.convert(wide, allPatterns(memory, dtype));
            ops.convert(back, wide);
            double[] found = Guarded.read(wide);
            ShortBuffer returned = HostBytes.view(back.address(), back.bytes()).asShortBuffer();
            for (int i = 0; i < PATTERNS; i++) {
                double defined = Numbers.decode(dtype, i);
                assertEquals(0, Double.compare(defined, found[i]), dtype + " pattern " + i + " is " + found[i]);
                if (Double.isNaN(defined)) {
                    assertTrue(Double.isNaN(Numbers.decode(dtype, returned.get(i) & 0xffff)), dtype + " NaN " + i);
                } else {
                    assertEquals((short) i, returned.get(i), dtype + " pattern " + i);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "F16"})
    void floatsAtAndBesideTheMiddleOfAnyTwoNeighboursRoundToNearestEven(DType dtype) {
        try (Guarded memory = new Guarded()) {
            int infinity = Numbers.encode(dtype, Double.POSITIVE_INFINITY);
            double[] values = new double[infinity * 6];
            for (int i = 0; i < infinity; i++) {
                double low = Numbers.decode(dtype, i);
                double high =
                        i + 1 == infinity ? low + (low - Numbers.decode(dtype, i - 1)) : Numbers.decode(dtype, i + 1);
                float middle = (float) (low / 2 + high / 2);
                float[] near = {middle, Math.nextUp(middle), Math.nextDown(middle)};
                for (int j = 0; j < 3; j++) {
                    values[i * 6 + j] = near[j];
                    values[i * 6 + 3 + j] = -near[j];
                }
            }
            Tensor in = memory.of(DType.F32, values, values.length), out = memory.empty(dtype, values.length);
            ops.convert(out, in);
            ShortBuffer found = HostBytes.view(out.address(), out.bytes()).asShortBuffer();
            for (int i = 0; i < values.length; i++) {
                assertEquals((short) Numbers.encode(dtype, values[i]), found.get(i), dtype + " of " + values[i]);
            }
        }
    }

    @Test
    void anyLengthOfAnyPairOfDtypesConvertsLikeItsElements() {
        for (DType from : DType.values()) {
            for (DType to : DType.values()) {
                for (int n : new int[] {1, 2, 3, 7, 17, 31, 33, 63, 65, 255, 257, 4095, 4097, 9001}) {
                    try (Guarded memory = new Guarded()) {
                        Tensor in = memory.random(from, 100, n), out = memory.empty(to, n);
                        ops.convert(out, in);
                        Tensor expected = memory.of(to, Guarded.read(in), n);
                        String what = from + " to " + to + ", " + n + " elements, seed " + memory.seed;
                        assertArrayEquals(Guarded.bytes(expected), Guarded.bytes(out), what);
                    }
                }
            }
        }
    }
}
