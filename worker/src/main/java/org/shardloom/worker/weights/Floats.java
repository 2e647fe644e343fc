package org.shardloom.worker.weights;

/**
 * Conversions between float32 and the two 16-bit floating-point formats.
 *
 * <p>Widening is exact. Narrowing rounds to nearest, ties to even; what is too large becomes an infinity. A NaN stays a
 * NaN of the same sign; its payload is kept as far as it fits.
 */
public final class Floats {
    private static final int HALF_INFINITY = 0x7c00;
    private static final int FLOAT_INFINITY = 0x7f80_0000;
    /** Bits of 65520, the smallest magnitude that rounds to infinity in binary16. */
    private static final int HALF_OVERFLOW = 0x477f_f000;
    /** Bits of 2^-14, the smallest normal binary16. */
    private static final int HALF_SMALLEST_NORMAL = 0x3880_0000;

    private Floats() {}

    /** Widens the bits of a binary16. */
    public static float halfToFloat(short half) {
        int sign = (half & 0x8000) << 16;
        int magnitude = half & 0x7fff;
        if (magnitude >= HALF_INFINITY) {
            return Float.intBitsToFloat(sign | FLOAT_INFINITY | (magnitude & 0x3ff) << 13);
        }
        // Read with float32's exponent bias (127 for 15) the value is 2^112 too small; the product is exact, also for
        // subnormals.
        float value = Float.intBitsToFloat(magnitude << 13) * 0x1p112f;
        return Float.intBitsToFloat(sign | Float.floatToRawIntBits(value));
    }

    /** Rounds to the bits of a binary16. */
    public static short floatToHalf(float value) {
        int bits = Float.floatToRawIntBits(value);
        int sign = bits >>> 16 & 0x8000;
        int magnitude = bits & 0x7fff_ffff;
        int half;
        if (magnitude > FLOAT_INFINITY) {
            half = HALF_INFINITY | 0x200 | magnitude >>> 13 & 0x3ff;
        } else if (magnitude >= HALF_OVERFLOW) {
            half = HALF_INFINITY;
        } else if (magnitude < HALF_SMALLEST_NORMAL) {
            // Next to 0.5 a float32 has steps of 2^-24, just as subnormal halves have: the addition rounds for us.
            half = Float.floatToRawIntBits(Float.intBitsToFloat(magnitude) + 0.5f) - Float.floatToRawIntBits(0.5f);
        } else {
            int roundUp = 0xfff + (magnitude >>> 13 & 1);
            half = (magnitude + roundUp >>> 13) - (112 << 10);
        }
        return (short) (sign | half);
    }

    /** Widens the bits of a bfloat16. */
    public static float bf16ToFloat(short bf16) {
        return Float.intBitsToFloat(bf16 << 16);
    }

    /** Rounds to the bits of a bfloat16. */
    public static short floatToBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if ((bits & 0x7fff_ffff) > FLOAT_INFINITY) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }
}
