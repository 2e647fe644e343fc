package org.shardloom.kernels.cpu;

import java.util.Arrays;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Checks of operands. */
final class Shapes {
    private Shapes() {}

    static void shape(String name, Tensor tensor, DType dtype, long... expected) {
        if (tensor.dtype() != dtype || !Arrays.equals(tensor.shape(), expected)) {
            throw new IllegalArgumentException(name + " is " + tensor + ", expected " + new Tensor(0, dtype, expected));
        }
    }

    static void require(boolean condition, String message, Object... arguments) {
        if (!condition) {
            throw new IllegalArgumentException(String.format(message, arguments));
        }
    }
}
