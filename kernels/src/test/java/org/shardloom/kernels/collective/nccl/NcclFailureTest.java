package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.FailureContract;
import org.shardloom.kernels.collective.Operands;
import org.shardloom.kernels.collective.Rendezvous;

/** Over the simulated driver and NCCL: how every transport must fail. */
class NcclFailureTest extends FailureContract {
    private SimulatedDevices devices;

    @BeforeAll
    void open() {
        devices = new SimulatedDevices(4, 5, 200);
    }

    @AfterAll
    void close() {
        SimulatedDevices.close(devices);
    }

    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout, AbortSignal signal) {
        return NcclCollectives.join(
                rendezvous, rank, size, devices.of(rank), timeout, signal, true, NcclCollectivesTest.PIECE_BYTES);
    }

    @Override
    protected Operands operands(int rank) {
        return Operands.on(devices.of(rank));
    }

    /** NCCL does not know who is missing: the message has the operation. */
    @Override
    protected String named(int absent, String otherwise) {
        return otherwise;
    }
}
