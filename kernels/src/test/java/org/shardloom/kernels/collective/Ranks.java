package org.shardloom.kernels.collective;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs the same code as every rank of a group, each on a thread of its own. */
public final class Ranks {
    private static final int DEADLINE_SECONDS = 60;

    private Ranks() {}

    /** What one rank does. */
    @FunctionalInterface
    public interface Task<T> {
        T run(int rank) throws Exception;
    }

    /** Starts a thread per rank; the results, by rank. The first failure, in order of rank, is thrown with the others suppressed. */
    public static <T> List<T> run(int size, Task<T> task) {
        List<CompletableFuture<T>> futures = new ArrayList<>();
        for (int r = 0; r < size; r++) {
            int rank = r;
            CompletableFuture<T> future = new CompletableFuture<>();
            Thread thread = new Thread(
                    () -> {
                        try {
                            future.complete(task.run(rank));
                        } catch (Throwable e) {
                            future.completeExceptionally(e);
                        }
                    },
                    "rank-" + rank);
            thread.setDaemon(true);
            thread.start();
            futures.add(future);
        }
        List<T> results = new ArrayList<>();
        AssertionError failure = null;
        for (int r = 0; r < size; r++) {
            try {
                results.add(futures.get(r).get(DEADLINE_SECONDS, TimeUnit.SECONDS));
            } catch (ExecutionException | TimeoutException | InterruptedException e) {
                Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
                if (failure == null) {
                    failure = new AssertionError("rank " + r + ": " + cause, cause);
                } else {
                    failure.addSuppressed(cause);
                }
            }
        }
        if (failure != null) {
            throw failure;
        }
        return results;
    }
}
