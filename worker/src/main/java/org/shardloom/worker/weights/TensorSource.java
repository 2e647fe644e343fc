package org.shardloom.worker.weights;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Map;

/**
 * Named tensors that can be read piece by piece.
 *
 * <p>Implementations in this package map their files into memory and touch only the bytes a call needs. They may be
 * used by any number of threads at once, as long as every thread brings its own destination. After {@link #close} every
 * read throws {@link IllegalStateException}; the memory maps themselves go when the garbage collector finds them
 * unreachable.
 */
public interface TensorSource extends Closeable {
    /** Returns the description of every tensor by its name, unmodifiable, in the order of the source. */
    Map<String, TensorInfo> tensors();

    /**
     * Reads {@code destination.remaining()} consecutive elements as float32 and advances the destination's position
     * past them. F16, BF16 and F32 widen exactly; F64 is rounded to nearest.
     *
     * @param name a name from {@link #tensors}
     * @param firstElement row-major index of the first element
     * @param destination receives the values, overwriting what was there
     * @throws WeightsException if there is no such tensor, or its dtype is not a floating-point type
     * @throws IndexOutOfBoundsException if the tensor has fewer than {@code firstElement + remaining} elements
     */
    void read(String name, long firstElement, FloatBuffer destination) throws IOException;

    /**
     * Reads consecutive elements of any dtype unconverted: little-endian, row-major. Fills
     * {@code destination.remaining()} bytes and advances the position past them.
     *
     * @param name a name from {@link #tensors}
     * @param firstElement row-major index of the first element
     * @param destination receives the bytes; its byte order does not matter
     * @throws WeightsException if there is no such tensor
     * @throws IllegalArgumentException if the remaining bytes are not a whole number of elements
     * @throws IndexOutOfBoundsException if the tensor has fewer elements than that
     */
    void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException;

    /**
     * Returns the description of one tensor.
     *
     * @throws WeightsException if there is no such tensor
     */
    default TensorInfo info(String name) throws WeightsException {
        TensorInfo info = tensors().get(name);
        if (info == null) {
            throw new WeightsException(this + " has no tensor " + WeightsException.quote(name) + " among its "
                    + tensors().size());
        }
        return info;
    }

    /**
     * Reads a whole tensor as float32, row-major.
     *
     * @throws WeightsException as {@link #read}
     * @throws IllegalArgumentException if the tensor has more elements than an array can hold
     */
    default float[] readAll(String name) throws IOException {
        TensorInfo info = info(name);
        if (info.elementCount() > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException(
                    "Tensor " + name + " has " + info.elementCount() + " elements, too many for one array");
        }
        float[] values = new float[(int) info.elementCount()];
        read(name, 0, FloatBuffer.wrap(values));
        return values;
    }
}
