package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.List;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.nccl.AloneOnDevice;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;

/** Ranks as threads of this process, each on a simulated GPU, with simulated NCCL between them. No GPU takes part. */
public final class CudaRanks {
    private static final long DEVICE_BYTES = 256L << 20;

    private CudaRanks() {}

    /** What one rank does. The group and the device are closed after it, in that order. */
    @FunctionalInterface
    public interface Work<T> {
        T run(CudaDevice device, Collectives group) throws Exception;
    }

    /** Results by rank; fails where the simulation has found a fault. */
    public static <T> List<T> run(int world, long seed, int delayMicros, Work<T> work) throws Exception {
        SimulatedDriver.start(world, DEVICE_BYTES, seed, delayMicros);
        Ranks.Meeting meeting = new Ranks.Meeting();
        AbortSignal signal = new AbortSignal();
        List<T> results = Ranks.parallel(world, rank -> {
            try (CudaDevice device = new CudaDevice(rank, SimulatedDriver.images());
                    Collectives group = world == 1
                            ? new AloneOnDevice(device)
                            : NcclCollectives.join(
                                    meeting.of("ranks", rank, world),
                                    rank,
                                    world,
                                    device,
                                    Duration.ofSeconds(60),
                                    signal,
                                    true)) {
                return work.run(device, group);
            } catch (Exception | AssertionError e) {
                signal.abort("rank " + rank + " failed: " + e);
                meeting.abort("rank " + rank + " failed: " + e);
                throw e;
            }
        });
        assertEquals(List.of(), SimulatedDriver.reports());
        return results;
    }
}
