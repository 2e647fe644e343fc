package org.shardloom.kernels.tensor;

import java.util.Arrays;

/**
 * A contiguous row-major view of device memory: an address, a dtype and a shape. It owns nothing; the {@link
 * org.shardloom.kernels.device.Memory} that it came from does. Immutable.
 *
 * @param address of the first element, in the device's address space (0 on the plan device is an address like any other)
 * @param dtype element type
 * @param shape lengths of the axes
 */
public record Tensor(long address, DType dtype, long... shape) {

    /** Number of elements. */
    public long elements() {
        long n = 1;
        for (long axis : shape) {
            n *= axis;
        }
        return n;
    }

    /** Number of bytes. */
    public long bytes() {
        return elements() * dtype.bytes;
    }

    /** Length of the first axis. */
    public long rows() {
        return shape[0];
    }

    /** Number of elements in one entry of the first axis. */
    public long columns() {
        long n = 1;
        for (int axis = 1; axis < shape.length; axis++) {
            n *= shape[axis];
        }
        return n;
    }

    /** Rows [from, from + count) of this tensor. */
    public Tensor slice(long from, long count) {
        if (from < 0 || count < 0 || from + count > shape[0]) {
            throw new IndexOutOfBoundsException(from + " + " + count + " rows of " + this);
        }
        long[] sliced = shape.clone();
        sliced[0] = count;
        return new Tensor(address + from * columns() * dtype.bytes, dtype, sliced);
    }

    /** The same elements under another shape. */
    public Tensor reshape(long... newShape) {
        Tensor t = new Tensor(address, dtype, newShape);
        if (t.elements() != elements()) {
            throw new IllegalArgumentException("cannot view " + this + " as " + Arrays.toString(newShape));
        }
        return t;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Tensor t && t.address == address && t.dtype == dtype && Arrays.equals(t.shape, shape);
    }

    @Override
    public int hashCode() {
        return Long.hashCode(address) * 31 + Arrays.hashCode(shape);
    }

    @Override
    public String toString() {
        return dtype + Arrays.toString(shape);
    }
}
