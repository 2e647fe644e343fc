package org.shardloom.kernels.collective;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import org.shardloom.kernels.cpu.NativeCpu;

/** Runs collectives one after the other, in order of issue, beside the engine's thread. */
public final class CommunicationThread implements AutoCloseable {
    private final LinkedBlockingQueue<Runnable> queue = new LinkedBlockingQueue<>();
    private final Thread thread;
    private volatile boolean closed;
    private volatile String aborted;

    public CommunicationThread(String name) {
        thread = new Thread(this::run, name);
        thread.setDaemon(true);
        thread.start();
    }

    private void run() {
        NativeCpu.useThreads(1);
        while (!closed || !queue.isEmpty()) {
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
        queue.add(() -> {
            try {
                if (aborted != null) {
                    throw new CollectiveException(aborted);
                }
                operation.run();
                done.complete(null);
            } catch (RuntimeException | Error e) {
                done.completeExceptionally(e);
            }
        });
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

    /** Why the group was aborted, or null. */
    public String abortReason() {
        return aborted;
    }

    /** Fails what is queued and what comes later; the operation under way must notice by itself. */
    public void abort(String reason) {
        if (aborted == null) {
            aborted = reason;
        }
    }

    /** Waits for what is queued, then ends the thread. An interrupt waits too: what the thread reads is about to be freed. */
    @Override
    public void close() {
        queue.add(() -> closed = true);
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
