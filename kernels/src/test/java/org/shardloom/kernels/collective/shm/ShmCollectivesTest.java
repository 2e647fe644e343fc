package org.shardloom.kernels.collective.shm;

import java.time.Duration;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CollectivesContract;
import org.shardloom.kernels.collective.Rendezvous;

class ShmCollectivesTest extends CollectivesContract {
    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return ShmCollectives.join(rendezvous, rank, size, timeout);
    }

    @Override
    protected IntStream sizes() {
        return IntStream.of(2, 3, 4);
    }

    @Override
    protected int large(int size) {
        return 2_200_003 / size;
    }
}
