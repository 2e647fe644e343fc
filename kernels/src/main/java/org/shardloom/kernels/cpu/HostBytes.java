package org.shardloom.kernels.cpu;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

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

    private static final class View extends BytePointer {
        View(long address, long bytes) {
            super((Pointer) null);
            this.address = address;
            this.limit = bytes;
            this.capacity = bytes;
        }
    }
}
