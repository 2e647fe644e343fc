package org.shardloom.kernels.collective.aeron;

import java.time.Duration;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.FailureContract;
import org.shardloom.kernels.collective.Rendezvous;

class AeronFailureTest extends FailureContract {
    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return AeronCollectives.join(rendezvous, rank, size, "127.0.0.1", AeronCollectivesTest.SECRET, timeout);
    }
}
