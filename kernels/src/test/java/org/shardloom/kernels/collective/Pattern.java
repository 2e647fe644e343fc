package org.shardloom.kernels.collective;

import java.nio.ByteBuffer;
import java.util.function.IntToDoubleFunction;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Numbers to send about. They are exact in their dtype, and span so many binary orders that a sum in another order, or in another
 * precision, comes out different.
 */
public final class Pattern {
    private Pattern() {}

    /** Element i of what the rank has. */
    public static float value(int rank, long i, DType dtype) {
        long bits = (i + 1) * 0x9E3779B97F4A7C15L + (rank + 1) * 0xD1B54A32D192ED03L;
        bits = (bits ^ bits >>> 29) * 0xBF58476D1CE4E5B9L;
        bits ^= bits >>> 32;
        int exponent = (int) (bits >>> 24 & 15) - 12;
        int mantissa = dtype == DType.F32 ? (int) (bits & 0x7FFFFF) : (int) (bits & 0x7F) << 16;
        return Float.intBitsToFloat((int) (bits >>> 31 & 1) << 31 | 127 + exponent << 23 | mantissa);
    }

    /** Fills the tensor with elements [from, from + its length) of what the rank has. */
    public static Tensor fill(Tensor tensor, int rank, long from) {
        fill(HostBytes.view(tensor.address(), tensor.bytes()), tensor.dtype(), tensor.elements(), rank, from);
        return tensor;
    }

    /** The same for the bytes of a tensor. */
    static void fill(ByteBuffer bytes, DType dtype, long elements, int rank, long from) {
        for (int i = 0; i < elements; i++) {
            float value = value(rank, from + i, dtype);
            if (dtype == DType.F32) {
                bytes.putFloat(i * 4, value);
            } else {
                bytes.putShort(i * 2, encode(value, dtype));
            }
        }
    }

    /** Fails unless every element is exactly what is expected. */
    public static void check(String what, Tensor tensor, IntToDoubleFunction expected) {
        check(what, tensor, HostBytes.view(tensor.address(), tensor.bytes()), expected);
    }

    /** The same for the bytes of a tensor. */
    static void check(String what, Tensor tensor, ByteBuffer view, IntToDoubleFunction expected) {
        int n = (int) tensor.elements();
        for (int i = 0; i < n; i++) {
            float wanted = (float) expected.applyAsDouble(i);
            boolean same = tensor.dtype() == DType.F32
                    ? view.getInt(i * 4) == Float.floatToRawIntBits(wanted)
                    : view.getShort(i * 2) == encode(wanted, tensor.dtype());
            if (!same) {
                throw new AssertionError(what + ": element " + i + " of " + tensor + " is not " + wanted
                        + (tensor.dtype() == DType.F32 ? " but " + view.getFloat(i * 4) : ""));
            }
        }
    }

    private static short encode(float value, DType dtype) {
        int bits = Float.floatToRawIntBits(value);
        if (dtype == DType.BF16) {
            return (short) (bits >>> 16);
        }
        int sign = bits >>> 31 << 15;
        int exponent = (bits >>> 23 & 0xFF) - 127 + 15;
        return (short) (sign | exponent << 10 | bits >>> 13 & 0x3FF);
    }
}
