package org.shardloom.kernels.cuda;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;
import jcuda.driver.CUcontext;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

/**
 * Events of one context, which are used again when nobody holds them any more: what a stream waits for is settled when the wait is issued,
 * so an event may be recorded anew afterwards. Thread-safe.
 */
final class Events implements AutoCloseable {
    /** Who waits on the host leaves the processor to the optimizer. */
    private static final int FLAGS = CUevent_flags.CU_EVENT_DISABLE_TIMING | CUevent_flags.CU_EVENT_BLOCKING_SYNC;

    private final Calls calls;
    private final CUcontext context;
    private static final Cleaner CLEANER = Cleaner.create();

    private final List<CUevent> all = new ArrayList<>();
    private final ArrayDeque<CUevent> free = new ArrayDeque<>();
    /** Each says why what the device brings is worth nothing, or null. */
    private final List<Supplier<RuntimeException>> guards = new CopyOnWriteArrayList<>();

    Events(Calls calls, CUcontext context) {
        this.calls = calls;
        this.context = context;
    }

    /** Marks what has been issued to the stream so far. */
    Event record(CUstream stream) {
        enter();
        Event event = new Event(take());
        calls.check(JCudaDriver.cuEventRecord(event.event, stream), "cuEventRecord");
        return event;
    }

    /** What is issued to the second stream from now on comes after what has been issued to the first. */
    void order(CUstream first, CUstream second) {
        Event event = record(first);
        event.holdBack(second);
        event.release();
    }

    /** Has every wait of the host asked, when it ends, whether what it waited for is whole; until removed. */
    void guard(Supplier<RuntimeException> guard) {
        guards.add(guard);
    }

    void removeGuard(Supplier<RuntimeException> guard) {
        guards.remove(guard);
    }

    /** Fails where a guard knows that what was waited for is not whole. */
    void validate() {
        for (Supplier<RuntimeException> guard : guards) {
            RuntimeException failure = guard.get();
            if (failure != null) {
                throw failure;
            }
        }
    }

    private synchronized CUevent take() {
        CUevent event = free.poll();
        if (event == null) {
            event = new CUevent();
            calls.check(JCudaDriver.cuEventCreate(event, FLAGS), "cuEventCreate");
            all.add(event);
        }
        return event;
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    @Override
    public synchronized void close() {
        enter();
        all.forEach(event -> calls.check(JCudaDriver.cuEventDestroy(event), "cuEventDestroy"));
        all.clear();
        free.clear();
    }

    /** Static: what a cleaner runs must not hold what it waits for. */
    private static Runnable givingBack(Events home, CUevent event) {
        return () -> home.giveBack(event);
    }

    private synchronized void giveBack(CUevent event) {
        free.push(event);
    }

    /** A point in a stream. */
    final class Event {
        private final CUevent event;
        private final Cleaner.Cleanable unused;

        private Event(CUevent event) {
            this.event = event;
            this.unused = CLEANER.register(this, givingBack(Events.this, event));
        }

        /** What is issued to the stream from now on comes after this point. */
        void holdBack(CUstream stream) {
            enter();
            calls.check(JCudaDriver.cuStreamWaitEvent(stream, event, 0), "cuStreamWaitEvent");
            Reference.reachabilityFence(this);
        }

        /** The calling thread waits until the point is reached. */
        void await() {
            enter();
            calls.check(JCudaDriver.cuEventSynchronize(event), "cuEventSynchronize");
            Reference.reachabilityFence(this);
            validate();
        }

        /** Whether the point is reached. */
        boolean reached() {
            enter();
            int result = JCudaDriver.cuEventQuery(event);
            if (result != CUresult.CUDA_ERROR_NOT_READY) {
                calls.check(result, "cuEventQuery");
            }
            return result == CUresult.CUDA_SUCCESS;
        }

        /** Not needed any more. Who cannot tell leaves it to the garbage collector. */
        void release() {
            unused.clean();
        }
    }
}
