package org.shardloom.kernels.cuda;

import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;

/**
 * The stream that collectives run in, beside the compute stream. What is issued here runs in order of issue; {@link #afterCompute} puts it
 * after what the compute stream was given before, {@link #beforeCompute} what the compute stream is given next after this one.
 */
public final class CommunicationStream implements AutoCloseable {
    private final Stream compute;
    private final Calls calls;
    private final Events events;
    private final Handle stream = new Handle();

    /** JCuda's stream, whose address other libraries need. */
    private static final class Handle extends CUstream {
        long address() {
            return getNativePointer();
        }
    }

    /** The context is current. */
    CommunicationStream(Stream compute, Events events) {
        this.compute = compute;
        this.calls = compute.calls;
        this.events = events;
        int[] least = new int[1], greatest = new int[1];
        calls.check(JCudaDriver.cuCtxGetStreamPriorityRange(least, greatest), "cuCtxGetStreamPriorityRange");
        // Before computing: what waits for a collective waits longer than what it takes from a product.
        int result = JCudaDriver.cuStreamCreateWithPriority(stream, CUstream_flags.CU_STREAM_NON_BLOCKING, greatest[0]);
        calls.check(result, "cuStreamCreateWithPriority", greatest[0]);
    }

    /** The device, as messages name it. */
    public String device() {
        return calls.device();
    }

    /** What is issued here does not come to its end, and nothing can make it: the device is lost to this process. */
    public void lose(String why) {
        calls.lose(why);
    }

    /** The stream as other libraries take it, a cudaStream_t. */
    public long handle() {
        return stream.address();
    }

    /** Makes this device's context the calling thread's. */
    public void enter() {
        compute.enter();
    }

    /** What is issued here from now on comes after what the compute stream has been given; the point from which it may run. */
    public Mark afterCompute() {
        Events.Event event = events.record(compute.stream);
        event.holdBack(stream);
        return new Mark(event);
    }

    /** What is issued here from now on comes after the copy. */
    public void after(Device.Transfer arriving) {
        if (arriving instanceof StreamTransfer transfer) {
            transfer.event().holdBack(stream);
        } else {
            arriving.await();
        }
    }

    /** Marks what has been issued here so far. */
    public Mark mark() {
        return new Mark(events.record(stream));
    }

    /** What is issued to the compute stream from now on comes after all that has been issued here. */
    public void beforeCompute() {
        holdBack(compute.stream);
    }

    /** What is issued to the other stream from now on comes after all that has been issued here. */
    void holdBack(CUstream other) {
        events.order(stream, other);
    }

    /**
     * Rows of columns, from one dtype to another, whose rows begin a stride of elements apart.
     *
     * @param to address of [rows, columns]
     * @param from address of [rows, columns]
     */
    public void convert(
            long to, DType toType, long toStride, long from, DType fromType, long fromStride, long rows, long columns) {
        String kernel = "convert" + Stream.suffix(fromType) + Stream.suffix(toType);
        compute.eachOn(stream, kernel, rows * columns, to, toStride, from, fromStride, rows, columns);
    }

    /** sum[i] += addend[i], both fp32 [n]. */
    public void add(long sum, long addend, long n) {
        compute.eachOn(stream, "add_f32", n, sum, sum, addend, n);
    }

    /**
     * Adds one rank's part after the other, in rank order, in fp32.
     *
     * @param sum address of fp32 [n]
     * @param accumulate begin with sum rather than with zero
     * @param parts address of [ranks, n], whose rows begin a stride of elements apart
     */
    public void sumRanks(long sum, boolean accumulate, long parts, DType dtype, long stride, int ranks, long n) {
        String kernel = "sum_ranks" + Stream.suffix(dtype);
        compute.eachOn(stream, kernel, n, sum, accumulate ? 1 : 0, parts, stride, ranks, n);
    }

    /** Zeros. */
    public void clear(long address, long bytes) {
        if (bytes > 0) {
            enter();
            int result = JCudaDriver.cuMemsetD8Async(Address.pointer(address), (byte) 0, bytes, stream);
            calls.check(result, "cuMemsetD8Async", Long.toHexString(address), bytes);
        }
    }

    /** Copies within the device's memory. */
    public void copy(long to, long from, long bytes) {
        if (bytes > 0 && to != from) {
            enter();
            int result = JCudaDriver.cuMemcpyDtoDAsync(Address.pointer(to), Address.pointer(from), bytes, stream);
            calls.check(result, "cuMemcpyDtoDAsync", Long.toHexString(to), Long.toHexString(from), bytes);
        }
    }

    /** Copies from page-locked host memory. */
    public void toDevice(long to, long host, long bytes) {
        enter();
        int result = JCudaDriver.cuMemcpyHtoDAsync(Address.pointer(to), HostPointer.of(host), bytes, stream);
        calls.check(result, "cuMemcpyHtoDAsync", Long.toHexString(to), bytes);
    }

    /** Copies to page-locked host memory. */
    public void toHost(long host, long from, long bytes) {
        enter();
        int result = JCudaDriver.cuMemcpyDtoHAsync(HostPointer.of(host), Address.pointer(from), bytes, stream);
        calls.check(result, "cuMemcpyDtoHAsync", Long.toHexString(from), bytes);
    }

    /**
     * Has every wait of the host for this device asked, when it ends, whether what it brings is whole: after an aborted collective the
     * streams run on over what has not arrived.
     *
     * @param guard the failure, or null as long as there is none
     */
    public void guard(Supplier<RuntimeException> guard) {
        events.guard(guard);
    }

    /** Ends what {@link #guard} began. */
    public void removeGuard(Supplier<RuntimeException> guard) {
        events.removeGuard(guard);
    }

    /** Waits for what has been issued here. */
    void finish() {
        enter();
        calls.check(JCudaDriver.cuStreamSynchronize(stream), "cuStreamSynchronize");
    }

    /** What was issued here still runs, unless {@link #finish} has waited for it. */
    @Override
    public void close() {
        enter();
        calls.check(JCudaDriver.cuStreamDestroy(stream), "cuStreamDestroy");
    }

    /** A point in a stream. Released once, it is of no use any more. */
    public static final class Mark {
        private final Events.Event event;

        private Mark(Events.Event event) {
            this.event = event;
        }

        /** Whether the stream is past it. */
        public boolean reached() {
            return event.reached();
        }

        /** Lets its event serve again. */
        public void release() {
            event.release();
        }
    }

    /** A collective in this stream, from its first part to the last that has been issued. */
    public abstract class Operation implements Pending {
        private static final long PAUSE_NANOS = 20_000;

        private Mark end;
        private boolean over;

        /** All of it has been issued. One that is not has failed. */
        public final synchronized void issued() {
            end = mark();
        }

        /** Why what the stream has done is worth nothing, or null; once there is a reason, there always is. */
        protected abstract RuntimeException failure();

        /** What is issued to the compute stream from now on comes after it; the thread goes on. */
        @Override
        public void await() {
            holdBack(compute.stream);
        }

        /** What is issued to the stream from now on comes after it; the thread goes on. */
        final synchronized void holdBack(CUstream other) {
            if (!poll()) {
                end.event.holdBack(other);
            }
        }

        /** The thread waits for it. */
        public final void awaitOnHost() {
            while (!poll()) {
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }

        /**
         * Whether it is over, and whole.
         *
         * @throws RuntimeException its failure
         */
        public final synchronized boolean poll() {
            if (!over) {
                // In this order: what ends because of a failure ends after there is a reason.
                boolean reached = end != null && end.reached();
                RuntimeException failure = failure();
                if (failure != null) {
                    throw failure;
                }
                if (reached) {
                    over = true;
                    end.release();
                }
            }
            return over;
        }

        /** Waits for nothing any more: its stream is through, or given up. */
        public final synchronized void abandon() {
            end.release();
        }
    }
}
