package org.shardloom.kernels.device;

import java.nio.ByteBuffer;
import java.util.Optional;
import org.shardloom.kernels.tensor.Tensor;

/**
 * One device and its compute stream. Operations of {@link #ops()} are issued in order by one thread (the engine's) and may
 * still be running when the call returns; {@link #read} and {@link #synchronize} wait for them. Collectives start after what
 * was issued before them and are joined by {@link Pending#await}, which on an asynchronous
 * device makes the stream wait rather than the thread.
 */
public interface Device extends AutoCloseable {
    /** As a user would write it: {@code cpu}, {@code cuda:1}. */
    String name();

    /** The operations that run on this device. */
    Ops ops();

    /** A new scope of this device's memory. */
    Memory memory(Purpose purpose);

    /** Bytes allocated, by purpose, with peaks. */
    MemoryStatistics statistics();

    /** Whether device memory is the host's, so that nothing need be copied between them. */
    boolean sharesHostMemory();

    /** A new scope of memory that the host computes with: page-locked where the device has memory of its own, else {@link #memory}. */
    Memory hostMemory(Purpose purpose);

    /** Bytes of host memory allocated, by purpose; those of {@link #statistics} where memory is shared. */
    MemoryStatistics hostStatistics();

    /** The operations on host memory. */
    HostOps hostOps();

    /** What has been issued so far. */
    Pending issued();

    /**
     * Copies device memory to host memory of the same size, beside what the device computes. Any thread.
     *
     * @param after when the copy begins; it is held back by nothing else
     * @return completes when the host may read it; until then the device's tensor must stay as it is
     */
    Transfer toHost(Tensor host, Tensor source, Pending after);

    /**
     * Copies host memory to device memory of the same size, beside what the device computes. Any thread.
     *
     * @param after when the copy begins; it is held back by nothing else
     * @return completes when the host may write its memory again; {@link Transfer#join}, or await it, before the device's tensor is used
     */
    Transfer toDevice(Tensor destination, Tensor host, Pending after);

    /** As {@link #toDevice(Tensor, Tensor, Pending)}, after what was issued before and beside what is issued from now on. */
    default Transfer toDevice(Tensor destination, Tensor host) {
        return toDevice(destination, host, issued());
    }

    /** Copies host bytes to the tensor, before what is issued from now on; the buffer may be reused when this returns. */
    void write(Tensor destination, ByteBuffer source);

    /** Copies the tensor to host bytes; waits for all that was issued before. */
    void read(Tensor source, ByteBuffer destination);

    /** Waits for all that was issued. */
    void synchronize();

    /**
     * Why this process can compute nothing on it any more, if so: only another process can go on then. Asks the device, but does not wait for
     * it. The engine's thread.
     */
    default Optional<String> lost() {
        return Optional.empty();
    }

    /**
     * Gets memory of its own, until {@link #unreserve}, for all that comes and goes within steps.
     *
     * @param bytes that the largest step needs
     * @throws OutOfMemoryException when there is not so much
     */
    default void reserve(long bytes) {}

    /** Gives back what was reserved; nothing of it is in use any more. */
    default void unreserve() {}

    /** Gives memory that is not in use, and is kept for later, back to where it came from; not what is reserved. */
    default void trim() {}

    @Override
    void close();

    /** A copy under way. */
    interface Transfer {
        /** A copy that is complete. */
        Transfer DONE = new Transfer() {
            @Override
            public void await() {}

            @Override
            public void join() {}
        };

        /** The calling thread waits until it is complete. */
        void await();

        /** Makes what is issued to the device from now on come after the copy. */
        void join();
    }
}
