package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

class FloatsTest {
    /** The definition of binary16, written down independently of the implementation. */
    private static double halfByDefinition(int half) {
        int exponent = half >> 10 & 31;
        int fraction = half & 1023;
        double magnitude = exponent == 31
                ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                : exponent == 0 ? fraction * Math.pow(2, -24) : (1024 + fraction) * Math.pow(2, exponent - 25);
        return half >> 15 == 0 ? magnitude : -magnitude;
    }

    @Test
    void everyHalfWidensToItsDefinedValueAndComesBack() {
        for (int half = 0; half < 0x10000; half++) {
            float value = Floats.halfToFloat((short) half);
            assertEquals(0, Double.compare(halfByDefinition(half), value), "half " + half);
            short back = Floats.floatToHalf(value);
            if (Float.isNaN(value)) {
                assertTrue(Float.isNaN(Floats.halfToFloat(back)), "half " + half);
                assertEquals(half >> 15, (back & 0xffff) >> 15, "sign of NaN " + half);
            } else {
                assertEquals((short) half, back, "half " + half);
            }
        }
    }

    @Test
    void everyBf16WidensToTheUpperHalfOfAFloatAndComesBack() {
        for (int bf16 = 0; bf16 < 0x10000; bf16++) {
            float value = Floats.bf16ToFloat((short) bf16);
            short back = Floats.floatToBf16(value);
            if (Float.isNaN(value)) {
                assertTrue(Float.isNaN(Floats.bf16ToFloat(back)), "bf16 " + bf16);
            } else {
                assertEquals(bf16 << 16, Float.floatToRawIntBits(value), "bf16 " + bf16);
                assertEquals((short) bf16, back, "bf16 " + bf16);
            }
        }
    }

    @Test
    void betweenAnyTwoNeighbouringHalvesRoundingGoesToTheNearestAndOnATieToTheEvenOne() {
        for (int half = 0; half < 0x7bff; half++) {
            float tie = (float) ((halfByDefinition(half) + halfByDefinition(half + 1)) / 2);
            checkTie(half, tie, Floats.floatToHalf(tie), Floats.floatToHalf(Math.nextDown(tie)));
            assertEquals(half + 1, Floats.floatToHalf(Math.nextUp(tie)), "above tie after " + half);
            assertEquals((short) (0x8000 | half + (half & 1)), Floats.floatToHalf(-tie), "negative tie " + half);
        }
        assertEquals(0x7bff, Floats.floatToHalf(Math.nextDown(65520f)));
        assertEquals(0x7c00, Floats.floatToHalf(65520f));
        assertEquals(0x7c00, Floats.floatToHalf(Float.MAX_VALUE));
        assertEquals((short) 0xfc00, Floats.floatToHalf(Float.NEGATIVE_INFINITY));
    }

    @Test
    void betweenAnyTwoNeighbouringBf16RoundingGoesToTheNearestAndOnATieToTheEvenOne() {
        for (int bf16 = 0; bf16 < 0x7f80; bf16++) {
            float tie = Float.intBitsToFloat(bf16 << 16 | 0x8000);
            checkTie(bf16, tie, Floats.floatToBf16(tie), Floats.floatToBf16(Math.nextDown(tie)));
            assertEquals(bf16 + 1, Floats.floatToBf16(Math.nextUp(tie)), "above tie after " + bf16);
        }
    }

    private static void checkTie(int lower, float tie, short atTie, short belowTie) {
        assertEquals(lower + (lower & 1), atTie, "tie " + tie);
        assertEquals(lower, belowTie, "below tie " + tie);
    }

    @Test
    void aNanWithAnyPayloadStaysANan() {
        Random random = new Random(11);
        for (int i = 0; i < 10_000; i++) {
            float nan = Float.intBitsToFloat(0x7f80_0001 + random.nextInt(0x7f_fffe) | random.nextInt() & 1 << 31);
            assertTrue(Float.isNaN(Floats.halfToFloat(Floats.floatToHalf(nan))));
            assertTrue(Float.isNaN(Floats.bf16ToFloat(Floats.floatToBf16(nan))));
        }
    }
}
