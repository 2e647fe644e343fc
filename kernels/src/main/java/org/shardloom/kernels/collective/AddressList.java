package org.shardloom.kernels.collective;

import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;

/** A native array of addresses. */
public final class AddressList implements AutoCloseable {
    private final long address;
    private final long bytes;

    public AddressList(long... addresses) {
        bytes = Math.max(64, addresses.length * 8L);
        address = HostBytes.allocate(bytes);
        HostBytes.view(address, bytes).asLongBuffer().put(addresses);
    }

    public long address() {
        return address;
    }

    @Override
    public void close() {
        NativeCpu.release(address, bytes);
    }
}
