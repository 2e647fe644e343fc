package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cuda.OnlySimulated;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.zero.CudaRanks;

/** Ranks with simulated NCCL between them leave their group, with the others or without. No GPU takes part. */
@OnlySimulated("how a communicator has ended")
@Timeout(60)
class PartingTest {
    private static final Duration LONG = Duration.ofSeconds(30);

    /** One is still computing, and gathers are under way, when the others have come to the end. */
    @Test
    void ranksWaitForEachOtherAndNoneAborts() throws Exception {
        CudaRanks.run(3, 5, 500, (device, group) -> {
            long before = SimulatedDriver.aborts();
            try (Memory memory = device.memory(Purpose.GATHERED)) {
                Tensor full = memory.allocate(DType.F32, 3 * 50_000), slice = memory.allocate(DType.F32, 50_000);
                device.ops().zero(slice);
                group.allGather(full, slice);
                Thread.sleep(group.rank() == 2 ? 700 : 0);
                Parting.from(group, LONG, new AbortSignal());
                assertThrows(CollectiveException.class, () -> group.allGather(full, slice)
                        .await());
            }
            assertEquals(before, SimulatedDriver.aborts());
            return null;
        });
    }

    @Test
    void aRankThatDoesNotComeIsNotWaitedForBeyondTheLimit() throws Exception {
        CudaRanks.run(2, 5, 0, (device, group) -> {
            if (group.rank() == 0) {
                assertEnds(500, 2500, () -> Parting.from(group, Duration.ofMillis(500), new AbortSignal()));
            } else {
                Thread.sleep(2500);
            }
            return null;
        });
    }

    @Test
    void theSignalEndsTheWait() throws Exception {
        AbortSignal signal = new AbortSignal();
        CudaRanks.run(2, 5, 0, (device, group) -> {
            if (group.rank() == 0) {
                assertEnds(300, 2500, () -> Parting.from(group, LONG, signal));
            } else {
                Thread.sleep(300);
                signal.abort("worker 1 is gone");
                Thread.sleep(2200);
            }
            return null;
        });
    }

    private static void assertEnds(long least, long most, Runnable parting) {
        long before = SimulatedDriver.aborts(), start = System.nanoTime();
        parting.run();
        long millis = (System.nanoTime() - start) / 1_000_000;
        assertTrue(millis >= least - 100 && millis < most, millis + " ms");
        assertEquals(1, SimulatedDriver.aborts() - before);
    }
}
