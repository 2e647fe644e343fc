package org.shardloom.kernels.collective;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Pending;

/**
 * Runs collectives one after the other, in order of issue, beside the engine's thread. After a failure, or an abort, nothing more
 * is run: the ranks would be out of step.
 */
public final class CommunicationThread implements AutoCloseable {
    private final LinkedBlockingQueue<Runnable> queue = new LinkedBlockingQueue<>();
    private final Consumer<String> onAbort;
    private final AtomicReference<String> aborted = new AtomicReference<>();
    private final Thread thread;
    private boolean closing;
    private boolean closed;

    public CommunicationThread(String name) {
        this(name, reason -> {});
    }

    /**
     * Starts the thread.
     *
     * @param onAbort runs on the thread, once, with the reason, after an abort or the failure of an operation
     */
    public CommunicationThread(String name, Consumer<String> onAbort) {
        this.onAbort = onAbort;
        thread = new Thread(this::run, name);
        thread.setDaemon(true);
        thread.start();
    }

    private void run() {
        NativeCpu.useThreads(1);
        while (!closed) {
            try {
                queue.take().run();
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    /** Queues the operation; its failure reaches whoever awaits it. */
    public Pending submit(Runnable operation) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        synchronized (this) {
            if (closing) {
                done.completeExceptionally(new CollectiveException("the group is closed"));
            } else {
                queue.add(() -> run(operation, done));
            }
        }
        return () -> {
            try {
                done.join();
            } catch (CompletionException e) {
                throw e.getCause() instanceof CollectiveException c
                        ? c
                        : new CollectiveException("collective failed", e.getCause());
            }
        };
    }

    private void run(Runnable operation, CompletableFuture<Void> done) {
        try {
            if (aborted.get() != null) {
                throw new CollectiveException("not begun");
            }
            operation.run();
            done.complete(null);
        } catch (RuntimeException | Error e) {
            String reason = aborted.get();
            if (reason == null) {
                abort(e instanceof CollectiveException ? e.getMessage() : e.toString());
                done.completeExceptionally(e);
            } else {
                done.completeExceptionally(new CollectiveException(reason + ": " + e.getMessage(), e));
            }
        }
    }

    /** Why the group was aborted, or null. */
    public String abortReason() {
        return aborted.get();
    }

    /** Fails what is queued and what comes later; the operation under way must notice by itself. Any thread. */
    public void abort(String reason) {
        if (aborted.compareAndSet(null, reason)) {
            synchronized (this) {
                if (!closing) {
                    queue.add(() -> onAbort.accept(reason));
                }
            }
        }
    }

    /** Waits for what is queued, then ends the thread. An interrupt waits too: what the thread reads is about to be freed. */
    @Override
    public void close() {
        synchronized (this) {
            if (!closing) {
                closing = true;
                queue.add(() -> closed = true);
            }
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
    }
}
