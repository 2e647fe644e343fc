package org.shardloom.kernels.collective.shm;

import java.time.Duration;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.FailureContract;
import org.shardloom.kernels.collective.Rendezvous;

class ShmFailureTest extends FailureContract {
    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout, AbortSignal signal) {
        return ShmCollectives.join(rendezvous, rank, size, timeout, signal);
    }
}
