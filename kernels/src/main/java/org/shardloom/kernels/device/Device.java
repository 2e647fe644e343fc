package org.shardloom.kernels.device;

import java.nio.ByteBuffer;
import org.shardloom.kernels.tensor.Tensor;

/**
 * One device and its compute stream. Operations of {@link #ops()} are issued in order by one thread (the engine's) and may
 * still be running when the call returns; {@link #read} and {@link #synchronize} wait for them. Collectives start after what
 * was issued before them and are joined by {@link org.shardloom.kernels.collective.Pending#await}, which on an asynchronous
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

    /**
     * Copies device memory to host memory of the same size, after what was issued before. Where memory is shared there is no need to.
     *
     * @return completes when the host may read it; the device's tensor may be written by what is issued from then on
     */
    Transfer toHost(Tensor host, Tensor source);

    /**
     * Copies host memory to device memory of the same size, before what is issued from now on.
     *
     * @return completes when the host may write its memory again
     */
    Transfer toDevice(Tensor destination, Tensor host);

    /** Copies host bytes to the tensor; the buffer may be reused when this returns. */
    void write(Tensor destination, ByteBuffer source);

    /** Copies the tensor to host bytes; waits for all that was issued before. */
    void read(Tensor source, ByteBuffer destination);

    /** Waits for all that was issued. */
    void synchronize();

    @Override
    void close();

    /** A copy under way. */
    @FunctionalInterface
    interface Transfer {
        /** A copy that is complete. */
        Transfer DONE = () -> {};

        /** Waits until it is complete. */
        void await();
    }
}
