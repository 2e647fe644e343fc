package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;

/** A GPU for every rank, simulated unless tests run on real ones, all in this process. */
final class SimulatedDevices implements AutoCloseable {
    private final List<CudaDevice> devices = new ArrayList<>();
    /** Page-locked bytes that a device itself has. */
    private final List<Long> own = new ArrayList<>();

    private final List<CudaDevice> lost = new ArrayList<>();

    SimulatedDevices(int count, long seed, int longestDelayMicros) {
        SimulatedDriver.start(count, 512L << 20, seed, longestDelayMicros);
        for (int index = 0; index < count; index++) {
            CudaDevice device = new CudaDevice(index, SimulatedDriver.images());
            devices.add(device);
            own.add(device.hostStatistics().currentBytes());
        }
    }

    /** What the device holds stays with it: nobody could give it back. */
    void expectLost(int rank) {
        lost.add(devices.get(rank));
    }

    CudaDevice of(int rank) {
        return devices.get(rank);
    }

    /** Closes them where there are any: not where the test is skipped. */
    static void close(SimulatedDevices devices) {
        if (devices != null) {
            devices.close();
        }
    }

    /** Fails where a device still counts memory, or the simulation has found a fault. */
    @Override
    public void close() {
        for (CudaDevice device : devices) {
            if (lost.contains(device)) {
                device.close();
                continue;
            }
            assertEquals(0, device.statistics().currentBytes(), device.name());
            assertEquals(
                    own.get(devices.indexOf(device)), device.hostStatistics().currentBytes(), device.name());
            device.close();
        }
        List<String> reports = new ArrayList<>(SimulatedDriver.reports());
        lost.forEach(device ->
                reports.removeIf(line -> line.matches("leak: \\d+ bytes of device " + devices.indexOf(device))));
        assertEquals(List.of(), reports);
    }
}
