package org.shardloom.kernels.cpu;

import org.shardloom.kernels.tensor.DType;

/** The element types by their definitions: sign, exponent and fraction as arithmetic in double, with no bit tricks. */
final class Numbers {
    private Numbers() {}

    /** The largest relative error of rounding to the dtype, away from its smallest numbers. */
    static double roundoff(DType dtype) {
        return Math.scalb(1.0, -significandBits(dtype));
    }

    /**
     * What may vanish: half the distance between the smallest numbers; for the wide exponents, what exponentials below
     * e^-87.3 = 1e-38 are multiplied with, at most 1e4 in these tests.
     */
    static double tiny(DType dtype) {
        return dtype == DType.F16 ? Math.scalb(1.0, -25) : 1e-34;
    }

    static double decode(DType dtype, int bits) {
        if (dtype == DType.F32) {
            return Float.intBitsToFloat(bits);
        }
        int fractionBits = significandBits(dtype) - 1, exponentBits = 15 - fractionBits;
        int exponent = bits >> fractionBits & (1 << exponentBits) - 1;
        int fraction = bits & (1 << fractionBits) - 1;
        double sign = (bits >> 15 & 1) == 0 ? 1 : -1;
        if (exponent == (1 << exponentBits) - 1) {
            return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
        }
        double significand = exponent == 0 ? fraction : fraction + (1 << fractionBits);
        return sign * Math.scalb(significand, Math.max(exponent, 1) - bias(exponentBits) - fractionBits);
    }

    /** The bits of the value rounded to nearest, ties to even. */
    static int encode(DType dtype, double value) {
        if (dtype == DType.F32) {
            return Float.floatToRawIntBits((float) value);
        }
        int fractionBits = significandBits(dtype) - 1, exponentBits = 15 - fractionBits;
        int sign = 1 / value < 0 || value < 0 ? 0x8000 : 0;
        int infinity = (1 << exponentBits) - 1 << fractionBits;
        if (Double.isNaN(value)) {
            return infinity + 1;
        }
        if (Double.isInfinite(value)) {
            return sign | infinity;
        }
        int least = 1 - bias(exponentBits);
        int exponent = Math.max(Math.getExponent(value), least);
        long units = (long) Math.rint(Math.scalb(Math.abs(value), fractionBits - exponent));
        // Units carry into the exponent by themselves, since the fields are next to each other.
        long bits = units + ((long) (exponent - least) << fractionBits);
        return sign | (int) Math.min(bits, infinity);
    }

    static double round(DType dtype, double value) {
        return dtype == DType.F32 ? (float) value : decode(dtype, encode(dtype, value));
    }

    private static int significandBits(DType dtype) {
        return switch (dtype) {
            case F32 -> 24;
            case BF16 -> 8;
            case F16 -> 11;
        };
    }

    private static int bias(int exponentBits) {
        return (1 << exponentBits - 1) - 1;
    }
}
