package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Objects;

/**
 * Where a tensor lies in a mapped file, and how to read it.
 *
 * <p>Element (i0, i1, ...) begins at byte {@code offset + (i0 * strides[0] + i1 * strides[1] + ...) * byteSize}. The
 * creator has checked that every element lies in the file.
 */
final class StoredTensor {
    private static final int CHUNK_ELEMENTS = 16_384;

    private final MappedFile file;
    private final TensorInfo info;
    private final long[] shape;
    private final long offset;
    private final long[] strides;
    private final boolean contiguous;
    private final boolean swapped;

    private StoredTensor(MappedFile file, TensorInfo info, long offset, long[] strides, ByteOrder order) {
        this.file = file;
        this.info = info;
        this.shape = info.shape().stream().mapToLong(Long::longValue).toArray();
        this.offset = offset;
        this.strides = strides;
        this.contiguous = isContiguous(shape, strides);
        this.swapped = order == ByteOrder.BIG_ENDIAN && info.dtype().byteSize() > 1;
    }

    /** A little-endian row-major tensor at a byte offset. */
    static StoredTensor contiguous(MappedFile file, TensorInfo info, long offset) {
        int rank = info.shape().size();
        long[] strides = new long[rank];
        long stride = 1;
        for (int d = rank - 1; d >= 0; d--) {
            strides[d] = stride;
            stride *= info.shape().get(d);
        }
        return new StoredTensor(file, info, offset, strides, ByteOrder.LITTLE_ENDIAN);
    }

    /** A view with strides in elements. */
    static StoredTensor strided(MappedFile file, TensorInfo info, long offset, long[] strides, ByteOrder order) {
        return new StoredTensor(file, info, offset, strides.clone(), order);
    }

    TensorInfo info() {
        return info;
    }

    /** Implements {@link TensorSource#read}. */
    void read(long firstElement, FloatBuffer destination) throws IOException {
        WeightDtype dtype = info.dtype();
        if (!dtype.isFloating()) {
            throw WeightsException.in(
                    file.path(), info.name(), "expected a floating-point dtype to read as float32, found " + dtype);
        }
        checkRange(firstElement, destination.remaining());
        int chunkElements = Math.min(CHUNK_ELEMENTS, destination.remaining());
        ByteBuffer chunk = ByteBuffer.allocate(chunkElements * dtype.byteSize()).order(ByteOrder.LITTLE_ENDIAN);
        long next = firstElement;
        while (destination.hasRemaining()) {
            int count = Math.min(chunkElements, destination.remaining());
            chunk.clear();
            fill(next, count, chunk);
            chunk.flip();
            decode(chunk, count, destination);
            next += count;
        }
    }

    /** Implements {@link TensorSource#readRaw}. */
    void readRaw(long firstElement, ByteBuffer destination) {
        int byteSize = info.dtype().byteSize();
        if (destination.remaining() % byteSize != 0) {
            throw new IllegalArgumentException("Tensor " + info.name() + ": " + destination.remaining()
                    + " bytes are not a whole number of " + info.dtype() + " elements");
        }
        int count = destination.remaining() / byteSize;
        checkRange(firstElement, count);
        ByteBuffer view = destination.duplicate().order(ByteOrder.LITTLE_ENDIAN);
        fill(firstElement, count, view);
        destination.position(view.position());
    }

    private void checkRange(long firstElement, int count) {
        try {
            Objects.checkFromIndexSize(firstElement, count, info.elementCount());
        } catch (IndexOutOfBoundsException e) {
            IndexOutOfBoundsException named = new IndexOutOfBoundsException("Tensor " + info.name() + " has "
                    + info.elementCount() + " elements; asked for " + count + " from " + firstElement);
            named.initCause(e);
            throw named;
        }
    }

    private void decode(ByteBuffer chunk, int count, FloatBuffer destination) {
        switch (info.dtype()) {
            case F32 -> destination.put(chunk.asFloatBuffer());
            case F16 -> {
                for (int i = 0; i < count; i++) {
                    destination.put(Floats.halfToFloat(chunk.getShort(2 * i)));
                }
            }
            case BF16 -> {
                for (int i = 0; i < count; i++) {
                    destination.put(Floats.bf16ToFloat(chunk.getShort(2 * i)));
                }
            }
            case F64 -> {
                for (int i = 0; i < count; i++) {
                    destination.put((float) chunk.getDouble(8 * i));
                }
            }
            default -> throw new IllegalStateException("Not a floating dtype: " + info.dtype());
        }
    }

    /** Puts raw elements into a little-endian buffer. */
    private void fill(long first, int count, ByteBuffer destination) {
        int begin = destination.position();
        int byteSize = info.dtype().byteSize();
        if (contiguous) {
            file.copy(offset + first * byteSize, count * byteSize, destination);
        } else {
            gather(first, count, destination);
        }
        if (swapped) {
            swap(destination, begin, destination.position(), byteSize);
        }
    }

    private void gather(long first, int count, ByteBuffer destination) {
        int byteSize = info.dtype().byteSize();
        int last = shape.length - 1;
        long[] index = unravel(first);
        int left = count;
        while (left > 0) {
            int run = (int) Math.min(left, shape[last] - index[last]);
            long from = offset;
            for (int d = 0; d <= last; d++) {
                from += index[d] * strides[d] * byteSize;
            }
            if (strides[last] == 1) {
                file.copy(from, run * byteSize, destination);
            } else {
                file.gather(from, strides[last] * byteSize, byteSize, run, destination);
            }
            left -= run;
            index[last] += run;
            for (int d = last; d > 0 && index[d] == shape[d]; d--) {
                index[d] = 0;
                index[d - 1]++;
            }
        }
    }

    private long[] unravel(long element) {
        long[] index = new long[shape.length];
        long rest = element;
        for (int d = shape.length - 1; d >= 0; d--) {
            if (shape[d] == 0) {
                return new long[shape.length];
            }
            index[d] = rest % shape[d];
            rest /= shape[d];
        }
        return index;
    }

    private static boolean isContiguous(long[] shape, long[] strides) {
        long expected = 1;
        for (int d = shape.length - 1; d >= 0; d--) {
            if (shape[d] != 1 && strides[d] != expected) {
                return false;
            }
            expected *= shape[d];
        }
        return true;
    }

    private static void swap(ByteBuffer buffer, int begin, int end, int byteSize) {
        for (int at = begin; at < end; at += byteSize) {
            switch (byteSize) {
                case 2 -> buffer.putShort(at, Short.reverseBytes(buffer.getShort(at)));
                case 4 -> buffer.putInt(at, Integer.reverseBytes(buffer.getInt(at)));
                default -> buffer.putLong(at, Long.reverseBytes(buffer.getLong(at)));
            }
        }
    }
}
