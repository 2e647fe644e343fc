package org.shardloom.kernels.cuda;

import jcuda.Pointer;
import org.shardloom.kernels.cpu.HostBytes;

/** JCuda's pointers to host memory as numbers, and back. */
final class HostPointer extends Pointer {
    private HostPointer(Pointer pointer) {
        super(pointer);
    }

    static long address(Pointer pointer) {
        HostPointer host = new HostPointer(pointer);
        return host.getNativePointer() + host.getByteOffset();
    }

    /** What JCuda takes where it asks for memory that is not Java's own. */
    static Pointer direct(long address) {
        return Pointer.to(HostBytes.view(address, 1));
    }

    static Pointer of(long address) {
        return new Pointer().withByteOffset(address);
    }
}
