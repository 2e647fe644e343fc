package org.shardloom.kernels.collective.nccl;

import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.Pointer;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;

/**
 * JavaCPP's pointers to what is not its own: addresses of the device, streams, and structs in memory that is asked for here. JavaCPP refuses
 * to allocate in a process that has more memory than its heap's size suggests, as a worker has.
 */
final class Handles {
    private Handles() {}

    static final class Address extends Pointer {
        Address(long value) {
            address = value;
        }
    }

    static final class StreamAddress extends CUstream_st {
        StreamAddress(long value) {
            super((Pointer) null);
            address = value;
        }
    }

    /** Memory for the time of a call. */
    static final class Scratch implements AutoCloseable {
        private final long bytes;
        private final long address;

        Scratch(Class<? extends Pointer> struct) {
            bytes = Pointer.sizeof(struct);
            address = HostBytes.allocate(bytes);
            NativeCpu.fill(address, 0, bytes);
        }

        long address() {
            return address;
        }

        @Override
        public void close() {
            NativeCpu.release(address, bytes);
        }
    }

    static final class Id extends ncclUniqueId {
        Id(Scratch memory) {
            super((Pointer) null);
            address = memory.address();
        }
    }

    static final class Config extends ncclConfig_t {
        Config(Scratch memory) {
            super((Pointer) null);
            address = memory.address();
        }
    }
}
