package org.shardloom.kernels.collective.aeron;

import java.time.Duration;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.FailureContract;
import org.shardloom.kernels.collective.Rendezvous;

class AeronFailureTest extends FailureContract {
    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout, AbortSignal signal) {
        return AeronCollectives.join(
                rendezvous,
                rank,
                size,
                "127.0.0.1",
                AeronCollectivesTest.SECRET,
                timeout,
                AeronOptions.defaults("127.0.0.1", size - 1),
                signal);
    }
}
