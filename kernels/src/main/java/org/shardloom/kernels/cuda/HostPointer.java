package org.shardloom.kernels.cuda;

import jcuda.Pointer;

/** JCuda's pointers to host memory as numbers, and back. */
final class HostPointer extends Pointer {
    private HostPointer(Pointer pointer) {
        super(pointer);
    }

    static long address(Pointer pointer) {
        HostPointer host = new HostPointer(pointer);
        return host.getNativePointer() + host.getByteOffset();
    }

    static Pointer of(long address) {
        return new Pointer().withByteOffset(address);
    }
}
