package org.shardloom.kernels.device;

import java.util.Arrays;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Checks of operands, for implementations of {@link Ops}. */
public final class Shapes {
    private Shapes() {}

    /** @throws IllegalArgumentException unless the tensor has the dtype and shape */
    public static void shape(String name, Tensor tensor, DType dtype, long... expected) {
        if (tensor.dtype() != dtype || !Arrays.equals(tensor.shape(), expected)) {
            throw new IllegalArgumentException(name + " is " + tensor + ", expected " + new Tensor(0, dtype, expected));
        }
    }

    /** @throws IllegalArgumentException with the formatted message unless the condition holds */
    public static void require(boolean condition, String message, Object... arguments) {
        if (!condition) {
            throw new IllegalArgumentException(String.format(message, arguments));
        }
    }
}
