package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import java.util.ArrayDeque;
import org.shardloom.kernels.collective.CollectiveException;
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
    private static final long BUSY_MILLIS = 2;
    private static final long IDLE_MILLIS = 50;
    private static final long STREAM_PATIENCE_NANOS = 10_000_000_000L;
    private static final Logger LOG = LoggerFactory.getLogger(Watcher.class);

    private final Communicator communicator;
    private final CommunicationStream stream;
    private final Failure failure;
    private final long limitNanos;
    private final ArrayDeque<Issued> issued = new ArrayDeque<>();
    private final Thread thread;
    private boolean closing;
    private volatile boolean streamIsFree;

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
    synchronized void add(String name, CommunicationStream.Mark ready, CommunicationStream.Operation operation) {
        issued.add(new Issued(name, ready, operation));
        notifyAll();
    }

    /** There is a failure to act upon. */
    synchronized void wake() {
        notifyAll();
    }

    private void run() {
        try {
            while (look()) {
                pause();
            }
            if (failure.reason() == null) {
                communicator.close();
            }
        } catch (CudaException | CollectiveException e) {
            failure.set(e.getMessage());
        }
        if (failure.reason() != null) {
            communicator.abort();
        }
        settle();
    }

    private synchronized void pause() {
        if (failure.reason() == null && !(closing && issued.isEmpty())) {
            try {
                wait(issued.isEmpty() ? IDLE_MILLIS : BUSY_MILLIS);
            } catch (InterruptedException e) {
                failure.set("its thread was interrupted");
            }
        }
    }

    /** Whether to go on. */
    private synchronized boolean look() {
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

    /** Waits until the stream is past all that was issued: memory that it may use must not be given away before. */
    private void settle() {
        try {
            CommunicationStream.Mark end = stream.mark();
            long deadline = System.nanoTime() + STREAM_PATIENCE_NANOS;
            while (!end.reached() && System.nanoTime() < deadline) {
                if (waitsForComputing()) {
                    deadline = System.nanoTime() + STREAM_PATIENCE_NANOS;
                }
                Thread.sleep(1);
            }
            streamIsFree = end.reached();
            end.release();
        } catch (CudaException e) {
            // The device itself has failed: nothing runs any more.
            streamIsFree = true;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (!streamIsFree) {
            String why = stream.device() + ": collectives still run after their communicator was aborted";
            LOG.warn(why);
            stream.lose(why);
        }
        synchronized (this) {
            issued.forEach(one -> {
                one.ready.release();
                one.operation.abandon();
            });
            issued.clear();
        }
    }

    /** Whether what was issued last may not begin yet. */
    private synchronized boolean waitsForComputing() {
        return !issued.isEmpty() && !issued.peekLast().ready.reached();
    }

    /**
     * Waits for what was issued, or for its failure, and gives the communicator back.
     *
     * @return whether the stream is through, as it is unless an abort was of no avail
     */
    boolean close() {
        synchronized (this) {
            closing = true;
            notifyAll();
        }
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return streamIsFree;
    }
}
