package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CollectivesContract;
import org.shardloom.kernels.collective.Operands;
import org.shardloom.kernels.collective.Rendezvous;

class AloneOnDeviceTest extends CollectivesContract {
    private SimulatedDevices devices;

    @BeforeAll
    void open() {
        devices = new SimulatedDevices(1, 2, 200);
    }

    @AfterAll
    void close() {
        SimulatedDevices.close(devices);
    }

    @Override
    protected Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return new AloneOnDevice(devices.of(rank));
    }

    @Override
    protected Operands operands(int rank) {
        return Operands.on(devices.of(rank));
    }

    @Override
    protected IntStream sizes() {
        return IntStream.of(1);
    }

    @Override
    protected int large(int size) {
        return 300_003;
    }
}
