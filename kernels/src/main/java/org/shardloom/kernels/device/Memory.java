package org.shardloom.kernels.device;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A scope of device memory: what was allocated through it is freed when it is closed, children first. Freed blocks go
 * back to the device's cache. Not thread-safe: one thread owns a scope.
 */
public final class Memory implements AutoCloseable {
    private final Allocator allocator;
    private final Purpose purpose;
    private final List<Tensor> tensors = new ArrayList<>();

    /** A scope over the allocator whose allocations count under the purpose. */
    public Memory(Allocator allocator, Purpose purpose) {
        this.allocator = allocator;
        this.purpose = purpose;
    }

    /**
     * Uninitialised memory of the shape.
     *
     * @throws OutOfMemoryException when the device has no more
     */
    public Tensor allocate(DType dtype, long... shape) {
        long bytes = new Tensor(0, dtype, shape).bytes();
        Tensor tensor = new Tensor(allocator.allocate(bytes, purpose), dtype, shape);
        tensors.add(tensor);
        return tensor;
    }

    /**
     * Room for so many bytes, kept from use to use: where the one there was is too small it is given back for another.
     *
     * @param before what this has returned, or null
     */
    public Tensor atLeast(Tensor before, long bytes) {
        if (before != null && before.bytes() >= bytes) {
            return before;
        }
        if (before != null) {
            free(before);
        }
        return allocate(DType.F32, Math.max(1024, (bytes + 3) / 4));
    }

    /** That many bytes will be wanted in pieces. */
    public void prepare(long bytes) {
        allocator.prepare(bytes, purpose);
    }

    /** Gives one tensor back before the scope ends. */
    public void free(Tensor tensor) {
        for (int i = tensors.size() - 1; i >= 0; i--) {
            if (tensors.get(i) == tensor) {
                tensors.remove(i);
                allocator.release(tensor.address(), tensor.bytes(), purpose);
                return;
            }
        }
        throw new IllegalArgumentException(tensor + " was not allocated in this scope, or is freed already");
    }

    @Override
    public void close() {
        for (int i = tensors.size() - 1; i >= 0; i--) {
            allocator.release(tensors.get(i).address(), tensors.get(i).bytes(), purpose);
        }
        tensors.clear();
    }

    /** Where memory comes from: one per device. Thread-safe. */
    public interface Allocator {
        /** Address of at least that many bytes; a block of zero bytes has an address too. */
        long allocate(long bytes, Purpose purpose);

        /** That many bytes will be wanted in pieces for the purpose; a device may get them now, in one. */
        default void prepare(long bytes, Purpose purpose) {}

        /** Gives a block back, with the size and purpose that it was asked for with. */
        void release(long address, long bytes, Purpose purpose);
    }
}
