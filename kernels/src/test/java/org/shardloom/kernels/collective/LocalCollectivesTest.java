package org.shardloom.kernels.collective;

import java.time.Duration;
import java.util.stream.IntStream;

class LocalCollectivesTest extends CollectivesContract {
    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return new LocalCollectives();
    }

    @Override
    protected IntStream sizes() {
        return IntStream.of(1);
    }

    @Override
    protected int large(int size) {
        return 1_000_003;
    }
}
