package org.shardloom.worker.weights;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * Name, element type and shape of a stored tensor.
 *
 * @param name the tensor's name within its source, not empty
 * @param dtype the stored element type
 * @param shape sizes of the dimensions, outermost first, none negative; empty for a scalar
 */
public record TensorInfo(String name, WeightDtype dtype, List<Long> shape) {
    /**
     * Checks and freezes the description.
     *
     * @throws IllegalArgumentException if the name is empty, a dimension is negative, or the size in bytes exceeds a
     *     {@code long}
     */
    public TensorInfo {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(dtype, "dtype");
        shape = List.copyOf(shape);
        if (name.isEmpty()) {
            throw new IllegalArgumentException("A tensor needs a name");
        }
        checkSize(dtype, shape);
    }

    /** Describes a tensor whose dimensions are given one by one, outermost first. */
    public static TensorInfo of(String name, WeightDtype dtype, long... shape) {
        return new TensorInfo(name, dtype, Arrays.stream(shape).boxed().toList());
    }

    /** Returns the number of elements: the product of the dimensions, 1 for a scalar. */
    public long elementCount() {
        if (shape.contains(0L)) {
            return 0;
        }
        long count = 1;
        for (long size : shape) {
            count *= size;
        }
        return count;
    }

    /** Returns the size of the contiguous tensor in bytes. */
    public long byteCount() {
        return elementCount() * dtype.byteSize();
    }

    private static void checkSize(WeightDtype dtype, List<Long> shape) {
        for (long size : shape) {
            if (size < 0) {
                throw new IllegalArgumentException("Shape " + shape + " has a negative dimension");
            }
        }
        if (shape.contains(0L)) {
            return;
        }
        long bytes = dtype.byteSize();
        for (long size : shape) {
            if (size > Long.MAX_VALUE / bytes) {
                throw new IllegalArgumentException("Shape " + shape + " of " + dtype + " has more than 2^63-1 bytes");
            }
            bytes *= size;
        }
    }
}
