package org.shardloom.kernels.cpu;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.shardloom.kernels.device.OutOfMemoryException;

/** Views of host addresses as buffers. */
public final class HostBytes {
    private HostBytes() {}

    /**
     * The bytes at the address, native order. The view does not keep the memory alive.
     *
     * @param bytes at most 2^31 - 1
     */
    public static ByteBuffer view(long address, long bytes) {
        return new View(address, Math.toIntExact(bytes)).asByteBuffer().order(ByteOrder.nativeOrder());
    }

    /**
     * Memory of the host with undefined contents, to be given back with {@link NativeCpu#release}.
     *
     * @throws OutOfMemoryException when there is not so much
     */
    public static long allocate(long bytes) {
        long address = NativeCpu.allocate(bytes);
        if (address == 0) {
            throw new OutOfMemoryException("no host memory for " + bytes + " bytes");
        }
        return address;
    }

    private static final class View extends BytePointer {
        View(long address, long bytes) {
            super((Pointer) null);
            this.address = address;
            this.limit = bytes;
            this.capacity = bytes;
        }
    }
}
