package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import java.util.Deque;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.cuda.CudaException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The thread that looks after a communicator: it notices what NCCL has noticed, an operation that takes longer than the limit, and an
 * abort, and then aborts the communicator. In the end it gives it back.
 *
 * <p>An operation's time runs from when the stream has come to it: when what it needs is computed, and the one before it is over.
 */
final class Watcher {
    private static final long BUSY_NANOS = 2_000_000;
    private static final long IDLE_NANOS = 50_000_000;
    private static final long STREAM_PATIENCE_NANOS = 10_000_000_000L;
    /** Its thread is taken to be stuck in a call of the driver, or of NCCL, when it has not been heard of for so long. */
    private static final long SILENCE_NANOS = 30_000_000_000L;

    private static final Logger LOG = LoggerFactory.getLogger(Watcher.class);

    private final Communicator communicator;
    private final CommunicationStream stream;
    private final Failure failure;
    private final long limitNanos;
    /** Others add at its end, the thread takes from its beginning: nobody waits for a thread that is stuck in a call. */
    private final Deque<Issued> issued = new ConcurrentLinkedDeque<>();

    private final Thread thread;
    private volatile boolean closing;
    private volatile boolean streamIsFree;
    private volatile long heard = System.nanoTime();

    /** An operation that is not known to be over, and the point from which it may run. */
    private static final class Issued {
        final String name;
        final CommunicationStream.Mark ready;
        final CommunicationStream.Operation operation;
        long since;

        Issued(String name, CommunicationStream.Mark ready, CommunicationStream.Operation operation) {
            this.name = name;
            this.ready = ready;
            this.operation = operation;
        }
    }

    Watcher(int rank, Communicator communicator, CommunicationStream stream, Failure failure, Duration timeout) {
        this.communicator = communicator;
        this.stream = stream;
        this.failure = failure;
        this.limitNanos = timeout.toNanos();
        thread = new Thread(this::run, "nccl-" + rank);
        thread.setDaemon(true);
        thread.start();
    }

    /** Looks after one more. */
    void add(String name, CommunicationStream.Mark ready, CommunicationStream.Operation operation) {
        issued.add(new Issued(name, ready, operation));
        LockSupport.unpark(thread);
    }

    /** There is a failure to act upon. */
    void wake() {
        LockSupport.unpark(thread);
    }

    private void run() {
        boolean over = false;
        try {
            while (look()) {
                pause();
            }
            if (failure.reason() == null) {
                over = communicator.close();
            }
        } catch (RuntimeException e) {
            failure.set(String.valueOf(e.getMessage()));
        }
        heard = System.nanoTime();
        if (failure.reason() != null) {
            LOG.info("{}: its communicator is aborted: {}", stream.device(), failure.reason());
            over = communicator.abort();
        }
        settle(over);
    }

    private void pause() {
        if (failure.reason() == null && !(closing && issued.isEmpty())) {
            LockSupport.parkNanos(issued.isEmpty() ? IDLE_NANOS : BUSY_NANOS);
            if (Thread.interrupted()) {
                failure.set("its thread was interrupted");
            }
        }
    }

    /** Whether to go on. */
    private boolean look() {
        heard = System.nanoTime();
        while (failure.reason() == null
                && !issued.isEmpty()
                && issued.peek().operation.poll()) {
            issued.poll().ready.release();
        }
        if (failure.reason() == null && !issued.isEmpty()) {
            checkTime(issued.peek());
        }
        if (failure.reason() == null) {
            String noticed = communicator.noticed();
            if (noticed != null) {
                failure.set((issued.isEmpty() ? "" : issued.peek().name + ": ") + noticed);
            }
        }
        return failure.reason() == null && !(closing && issued.isEmpty());
    }

    private void checkTime(Issued first) {
        long now = System.nanoTime();
        if (first.since == 0) {
            first.since = first.ready.reached() ? now : 0;
        } else if (now - first.since > limitNanos) {
            failure.set(first.name + " has not ended within " + limitNanos / 1_000_000
                    + " ms: a rank has not come to it, or is gone");
        }
    }

    /**
     * Waits until the stream is past all that was issued: memory that it may use must not be given away before.
     *
     * @param over whether nothing is left of the communicator; else nobody knows what NCCL still does
     */
    private void settle(boolean over) {
        try {
            streamIsFree = over && passes();
        } catch (CudaException e) {
            // The device itself has failed: nothing runs any more.
            streamIsFree = true;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (over && !streamIsFree) {
            String why = stream.device() + ": collectives still run after their communicator was aborted";
            LOG.warn(why);
            stream.lose(why);
        }
        for (Issued one = issued.poll(); one != null; one = issued.poll()) {
            one.ready.release();
            one.operation.abandon();
        }
    }

    /** Waits for the stream, as long as it does not take too long; whether it is past all. */
    private boolean passes() throws InterruptedException {
        CommunicationStream.Mark end = stream.mark();
        long deadline = System.nanoTime() + STREAM_PATIENCE_NANOS;
        while (!end.reached() && System.nanoTime() < deadline) {
            heard = System.nanoTime();
            if (waitsForComputing()) {
                deadline = System.nanoTime() + STREAM_PATIENCE_NANOS;
            }
            Thread.sleep(1);
        }
        boolean passed = end.reached();
        end.release();
        return passed;
    }

    /** Whether what was issued last may not begin yet. */
    private boolean waitsForComputing() {
        Issued last = issued.peekLast();
        return last != null && !last.ready.reached();
    }

    /**
     * Waits for what was issued, or for its failure, and gives the communicator back.
     *
     * @return whether the stream is through, as it is unless an abort was of no avail
     */
    boolean close() {
        closing = true;
        LockSupport.unpark(thread);
        boolean interrupted = false;
        while (thread.isAlive() && System.nanoTime() - heard < SILENCE_NANOS) {
            try {
                TimeUnit.NANOSECONDS.timedJoin(thread, SILENCE_NANOS / 30);
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (thread.isAlive()) {
            String why = stream.device() + ": a call that looks after its collectives does not come back";
            LOG.warn(why);
            stream.lose(why);
        }
        return !thread.isAlive() && streamIsFree;
    }
}
