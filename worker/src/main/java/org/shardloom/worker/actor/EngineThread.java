package org.shardloom.worker.actor;

import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.worker.loop.Session;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The thread that does a worker's mathematics, one work after the other, and the session that only it touches. */
final class EngineThread {
    private static final Logger LOG = LoggerFactory.getLogger(EngineThread.class);
    private static final int PATIENCE_SECONDS = 2;

    /** What the thread does to answer an order. */
    interface Work {
        CoordinatorMessage run(Session session) throws Exception;
    }

    private final ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
        Thread engine = new Thread(task, "engine");
        engine.setDaemon(true);
        return engine;
    });
    private Session session;

    /**
     * What a worker that has prepared says of itself.
     *
     * @param digest of the model's configuration and the samples
     * @param device that it computes on
     */
    record Prepared(String digest, String device) {}

    /** Opens the device and reads configuration and data. */
    CompletableFuture<Prepared> prepare(JobConfig job, RunSecret secret) {
        int threads = job.threadsPerWorker() > 0
                ? job.threadsPerWorker()
                : Math.max(1, Runtime.getRuntime().availableProcessors() / job.workers());
        return CompletableFuture.supplyAsync(
                () -> {
                    session = new Session(job, secret, threads);
                    return new Prepared(session.contentDigest(), session.deviceName());
                },
                thread);
    }

    /** Does the work after what was given before. */
    CompletableFuture<CoordinatorMessage> submit(Work work) {
        return CompletableFuture.supplyAsync(
                () -> {
                    try {
                        if (session == null) {
                            throw new IllegalStateException("the worker is not prepared yet");
                        }
                        return work.run(session);
                    } catch (Exception e) {
                        throw new CompletionException(deviceLost()
                                .map(why -> (Exception) new DeviceLostException(why, e))
                                .orElse(e));
                    }
                },
                thread);
    }

    private Optional<String> deviceLost() {
        return session == null ? Optional.empty() : session.deviceLost();
    }

    /** What went wrong, without what it was wrapped in on its way from the thread. */
    static Throwable unwrap(Throwable failure) {
        Throwable cause = failure;
        while (cause instanceof CompletionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    /** What is said of it to people. */
    static String describe(Throwable failure) {
        if (failure instanceof OutOfMemoryException
                || failure.getMessage() != null && !(failure instanceof NullPointerException)) {
            return failure.getMessage();
        }
        return failure.toString();
    }

    /** Frees the session and ends the thread; waits a little for work that is under way. */
    void close() {
        thread.execute(() -> {
            if (session != null) {
                session.close();
            }
        });
        thread.shutdown();
        try {
            if (!thread.awaitTermination(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                LOG.warn("the engine's thread is still busy");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
