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

    /** Copies host bytes to the tensor; the buffer may be reused when this returns. */
    void write(Tensor destination, ByteBuffer source);

    /** Copies the tensor to host bytes; waits for all that was issued before. */
    void read(Tensor source, ByteBuffer destination);

    /** Waits for all that was issued. */
    void synchronize();

    @Override
    void close();
}
