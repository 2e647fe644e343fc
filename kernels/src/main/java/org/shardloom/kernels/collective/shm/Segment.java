package org.shardloom.kernels.collective.shm;

import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.OutOfMemoryException;

/**
 * An anonymous shared-memory file, mapped.
 *
 * @param fd this process's descriptor
 * @param address where it is mapped
 * @param bytes its size
 */
record Segment(int fd, long address, long bytes) implements AutoCloseable {

    static Segment create(long bytes) {
        int fd = NativeCpu.sharedCreate(bytes);
        if (fd < 0) {
            throw new OutOfMemoryException("cannot create a shared segment of " + bytes + " bytes: error " + -fd);
        }
        return map(fd, bytes);
    }

    static Segment open(int pid, int fd) {
        int own = NativeCpu.sharedOpen(pid, fd);
        if (own < 0) {
            throw new CollectiveException("cannot open the shared segment of process " + pid + ": error " + -own
                    + " (does it run on this host, as this user?)");
        }
        return map(own, NativeCpu.sharedSize(own));
    }

    private static Segment map(int fd, long bytes) {
        long address = NativeCpu.sharedMap(fd, bytes);
        if (address < 0 && address > -4096) {
            NativeCpu.sharedClose(fd);
            throw new OutOfMemoryException("cannot map a shared segment of " + bytes + " bytes: error " + -address);
        }
        return new Segment(fd, address, bytes);
    }

    boolean contains(long from, long count) {
        return from >= address && from + count <= address + bytes;
    }

    @Override
    public void close() {
        NativeCpu.sharedUnmap(address, bytes);
        NativeCpu.sharedClose(fd);
    }
}
