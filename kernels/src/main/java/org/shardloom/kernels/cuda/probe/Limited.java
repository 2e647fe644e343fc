package org.shardloom.kernels.cuda.probe;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.function.Supplier;

/** Calls into libraries that may not come back, as NVIDIA's do when a GPU has fallen off its bus. */
final class Limited {
    private Limited() {}

    /**
     * Calls on a thread that nobody waits for at the end.
     *
     * @param what is asked, for the message
     * @param failed what comes of a failure, from one line that describes it
     */
    static <T> T call(String what, Duration limit, Supplier<T> call, Function<String, T> failed) {
        CompletableFuture<T> answer = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        answer.complete(call.get());
                    } catch (RuntimeException | LinkageError e) {
                        answer.completeExceptionally(e);
                    }
                },
                "probe");
        thread.setDaemon(true);
        thread.start();
        try {
            return answer.get(limit.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            return failed.apply(what + " has not answered for " + limit.toSeconds() + " s");
        } catch (ExecutionException e) {
            return failed.apply(String.valueOf(e.getCause()).lines().findFirst().orElse(""));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return failed.apply("interrupted");
        }
    }
}
