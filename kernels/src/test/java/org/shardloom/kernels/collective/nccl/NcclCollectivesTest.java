package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CollectivesContract;
import org.shardloom.kernels.collective.Operands;
import org.shardloom.kernels.collective.Rendezvous;

/** Over the simulated driver and NCCL, in fixed order: what every transport must do. */
class NcclCollectivesTest extends CollectivesContract {
    static final long PIECE_BYTES = 1 << 18;
    private SimulatedDevices devices;

    @BeforeAll
    void open() {
        devices = new SimulatedDevices(4, Long.getLong("shardloom.seed", 11), 100);
    }

    @AfterAll
    void close() {
        SimulatedDevices.close(devices);
    }

    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return NcclCollectives.join(
                rendezvous, rank, size, devices.of(rank), timeout, new AbortSignal(), true, PIECE_BYTES);
    }

    @Override
    protected Operands operands(int rank) {
        return Operands.on(devices.of(rank));
    }

    @Override
    protected IntStream sizes() {
        return IntStream.of(2, 3, 4);
    }

    @Override
    protected int large(int size) {
        return 300_007 / size;
    }
}
