package org.shardloom.worker.loop;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cuda.CudaException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** How ranks leave a group that has not failed: together, since what one gives back another may still read (NVIDIA/nccl#863). */
final class Parting {
    private static final Logger LOG = LoggerFactory.getLogger(Parting.class);

    private Parting() {}

    /**
     * Waits for the other ranks and closes the group. One whose ranks do not all come is aborted, as is one that has failed.
     *
     * @param limit for which the others are waited for
     * @param signal ends the wait at once
     */
    static void from(Collectives group, Duration limit, AbortSignal signal) {
        CompletableFuture<Void> met = new CompletableFuture<>();
        met.orTimeout(limit.toMillis(), TimeUnit.MILLISECONDS).exceptionally(e -> {
            group.abort("a rank has not come to the end of the generation within " + limit.toMillis() + " ms");
            return null;
        });
        try {
            signal.onAbort(group::abort);
            group.barrier().await();
        } catch (CollectiveException | CudaException e) {
            LOG.info("left without the other ranks: {}", e.getMessage());
            group.abort("the generation has ended");
        } finally {
            met.complete(null);
        }
        group.close();
    }
}
