package org.shardloom.kernels.cuda;

import jcuda.driver.CUdeviceptr;

/** JCuda's pointers as numbers, and back. */
final class Address extends CUdeviceptr {
    private Address(CUdeviceptr pointer) {
        super(pointer);
    }

    static long of(CUdeviceptr pointer) {
        Address address = new Address(pointer);
        return address.getNativePointer() + address.getByteOffset();
    }

    static CUdeviceptr pointer(long address) {
        return new CUdeviceptr().withByteOffset(address);
    }
}
