package org.shardloom.coordinator.run;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.shardloom.protocol.plan.UnitSize;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Works on {@link CheckpointFiles} one after the other, on a thread of its own. Used by one actor, which never blocks. */
final class CheckpointThread {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointThread.class);
    private final ExecutorService thread =
            Executors.newSingleThreadExecutor(task -> new Thread(task, "checkpoint-files"));
    private final CheckpointFiles files;
    private final int globalBatchSize;
    private final String jobYaml;
    private final String runId;
    private List<UnitSize> units = List.of();
    private String modelConfig = "";
    private String contentDigest = "";

    CheckpointThread(CheckpointFiles files, int globalBatchSize, String jobYaml, String runId) {
        this.files = files;
        this.globalBatchSize = globalBatchSize;
        this.jobYaml = jobYaml;
        this.runId = runId;
    }

    /** What workers say of the model and of the data. */
    void describe(List<UnitSize> modelUnits, String modelConfigJson, String digest) {
        units = modelUnits;
        modelConfig = modelConfigJson;
        contentDigest = digest;
    }

    /** The directory that workers write into; fails where there is no room for their shards. */
    CompletableFuture<Path> prepare(Effect.PrepareCheckpoint e) {
        long bytes = units.stream().mapToLong(UnitSize::elements).sum() * 12; // fp32 master weights and two moments
        return submit(() -> files.prepare(e.step(), bytes));
    }

    /** The checkpoint under its name. */
    CompletableFuture<Path> commit(Effect.CommitCheckpoint e) {
        CheckpointFiles.Facts facts = new CheckpointFiles.Facts(
                e.state(),
                e.worldSize(),
                units,
                e.state().step() * globalBatchSize,
                e.loss(),
                e.evalLoss(),
                e.evaluations(),
                jobYaml,
                modelConfig,
                contentDigest,
                runId);
        return submit(() -> files.commit(facts, e.shards()));
    }

    void discard(Effect.DiscardCheckpoint e) {
        thread.execute(() -> {
            try {
                files.discard(e.step());
            } catch (IOException failure) {
                LOG.warn("cannot remove the unfinished checkpoint of step {}: {}", e.step(), failure.toString());
            }
        });
    }

    /** Ends the thread when all is done that was given to it. */
    void close() {
        thread.shutdown();
    }

    private interface Work {
        Path run() throws IOException;
    }

    private CompletableFuture<Path> submit(Work work) {
        return CompletableFuture.supplyAsync(
                () -> {
                    try {
                        return work.run();
                    } catch (IOException e) {
                        throw new CompletionException(e);
                    }
                },
                thread);
    }

    /** What went wrong, without what it was wrapped in on its way from the thread. */
    static Throwable cause(Throwable failure) {
        Throwable cause = failure;
        while ((cause instanceof CompletionException || cause instanceof UncheckedIOException)
                && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }
}
