package org.shardloom.kernels.collective.aeron;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CollectivesContract;
import org.shardloom.kernels.collective.Rendezvous;

class AeronCollectivesTest extends CollectivesContract {
    static final byte[] SECRET = "only the members of a run know it".getBytes(StandardCharsets.UTF_8);

    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return AeronCollectives.join(rendezvous, rank, size, "127.0.0.1", SECRET, timeout);
    }

    @Override
    protected IntStream sizes() {
        return IntStream.of(2, 3, 4);
    }

    @Override
    protected int large(int size) {
        return (int) (Steps.SCRATCH_BYTES / 4 / (size - 1)) + 100_003;
    }
}
