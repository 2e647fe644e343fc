package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Meeting;
import org.shardloom.kernels.collective.Ranks;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.OnlySimulated;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.plan.PlanCollectives;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** What the contract does not ask: refusals, and that numbers which did not arrive whole never reach the host. */
@Timeout(90)
class NcclAbortTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private SimulatedDevices devices;

    @BeforeEach
    void open() {
        devices = new SimulatedDevices(2, 3, 200);
    }

    @AfterEach
    void close() {
        SimulatedDevices.close(devices);
    }

    private NcclCollectives join(Meeting meeting, int rank, int device, Duration timeout, AbortSignal signal) {
        return NcclCollectives.join(
                meeting.of(rank), rank, 2, devices.of(device), timeout, signal, true, NcclCollectivesTest.PIECE_BYTES);
    }

    /** The engine has long gone on when it comes out: whatever it waits for then fails, and nothing is held for ever. */
    @OnlySimulated("a collective that never ends")
    @Test
    void aHangingCollectiveIsEndedAndTheDeviceServesTheNextGroup() {
        Meeting first = new Meeting(2, LIMIT), second = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            CudaDevice device = devices.of(rank);
            try (NcclCollectives group = join(first, rank, rank, Duration.ofSeconds(1), new AbortSignal());
                    Memory memory = device.memory(Purpose.GRADIENTS);
                    Memory host = device.hostMemory(Purpose.GRADIENTS)) {
                Tensor tensor = memory.allocate(DType.F32, 1000), copy = host.allocate(DType.F32, 1000);
                device.ops().zero(tensor);
                group.barrier().await();
                if (rank == 0) {
                    SimulatedDriver.hangCollective(1);
                    group.allReduce(tensor).await();
                } else {
                    Thread.sleep(100);
                    group.allReduce(tensor).await();
                }
                Device.Transfer transfer = device.toHost(copy, tensor, device.issued());
                long start = System.nanoTime();
                for (Runnable wait : List.<Runnable>of(
                        transfer::await,
                        device::synchronize,
                        () -> device.read(tensor, ByteBuffer.allocateDirect(4000)),
                        () -> device.ops().sumOfSquares(tensor),
                        () -> group.sum(1.0))) {
                    CollectiveException e = assertThrows(CollectiveException.class, wait::run);
                    assertTrue(e.getMessage().startsWith("rank " + rank), e.getMessage());
                    assertTrue(e.getMessage().contains("all-reduce"), e.getMessage());
                }
                assertTrue(System.nanoTime() - start < 2_500_000_000L);
            }
            // A new generation, over the same device.
            try (NcclCollectives group = join(second, rank, rank, LIMIT, new AbortSignal())) {
                assertEquals(3, group.sum(rank + 1.0)[0]);
                device.synchronize();
            }
            return null;
        });
    }

    @OnlySimulated("a call that NCCL does not take")
    @Test
    void aCallThatNcclDoesNotTakeEndsInTimeOrWithAnAbort() {
        for (boolean abort : new boolean[] {false, true}) {
            Meeting meeting = new Meeting(2, LIMIT);
            Ranks.run(2, rank -> {
                Duration limit = abort ? LIMIT : Duration.ofMillis(700);
                try (NcclCollectives group = join(meeting, rank, rank, limit, new AbortSignal());
                        Memory memory = devices.of(rank).memory(Purpose.GRADIENTS)) {
                    if (rank == 1) {
                        Thread.sleep(1500);
                        return null;
                    }
                    SimulatedDriver.stallCollective(1);
                    Thread aborter = new Thread(() -> {
                        pause(400);
                        group.abort("enough");
                    });
                    if (abort) {
                        aborter.start();
                    }
                    long start = System.nanoTime();
                    Pending pending = group.broadcast(memory.allocate(DType.F32, 1000), 0);
                    CollectiveException e = assertThrows(CollectiveException.class, pending::await);
                    assertTrue(System.nanoTime() - start < 1_400_000_000L);
                    assertEquals(
                            "rank 0, broadcast: "
                                    + (abort
                                            ? "enough"
                                            : "ncclBroadcast of 4000 bytes from rank 0 on cuda:0 has not ended within 700 ms"),
                            e.getMessage());
                    aborter.join();
                }
                return null;
            });
        }
    }

    @OnlySimulated("a call that NCCL does not take")
    @Test
    void movesThatNcclDoesNotTakeAreNamed() {
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            try (NcclCollectives group = join(meeting, rank, rank, Duration.ofMillis(700), new AbortSignal());
                    Memory memory = devices.of(rank).memory(Purpose.GRADIENTS)) {
                if (rank == 1) {
                    SimulatedDriver.stallCollective(1);
                    Tensor to = memory.allocate(DType.F32, 5), from = memory.allocate(DType.BF16, 3);
                    Pending pending = group.exchange(
                            List.of(new Collectives.Move(0, from)), List.of(new Collectives.Move(0, to)));
                    CollectiveException e = assertThrows(CollectiveException.class, pending::await);
                    assertEquals(
                            "rank 1, exchange: ncclGroupEnd of 6 bytes to rank 0, 20 bytes from rank 0 on cuda:1 has not"
                                    + " ended within 700 ms",
                            e.getMessage());
                }
            }
            return null;
        });
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void anAbortFreesAThreadThatWaitsForTheDevice() {
        Meeting meeting = new Meeting(2, LIMIT);
        AbortSignal signal = new AbortSignal();
        Ranks.run(2, rank -> {
            CudaDevice device = devices.of(rank);
            try (NcclCollectives group = join(meeting, rank, rank, LIMIT, signal);
                    Memory memory = device.memory(Purpose.GRADIENTS)) {
                Tensor tensor = memory.allocate(DType.F32, 1000);
                if (rank == 1) {
                    Thread.sleep(500);
                    signal.abort("worker 7 is gone");
                    return null;
                }
                Pending pending = group.broadcast(tensor, 1);
                pending.await();
                CollectiveException e = assertThrows(CollectiveException.class, device::synchronize);
                assertEquals("rank 0, what was on cuda:0: worker 7 is gone", e.getMessage());
                e = assertThrows(CollectiveException.class, pending::await);
                assertEquals("rank 0, broadcast: worker 7 is gone", e.getMessage());
            }
            return null;
        });
    }

    /** Who closes the group is not held up for ever, and what NCCL may still use is not given away. */
    @OnlySimulated("an abort that never comes back")
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void anEndThatDoesNotComeBackLosesTheDevice(boolean aborted) {
        Meeting meeting = new Meeting(2, LIMIT);
        CudaDevice device = devices.of(0);
        String call = aborted ? "ncclCommAbort" : "ncclCommDestroy";
        long own = device.statistics().currentBytes();
        NcclCollectives[] groups = new NcclCollectives[2];
        Ranks.run(2, rank -> groups[rank] = join(meeting, rank, rank, LIMIT, new AbortSignal()));
        SimulatedDriver.hangEnd(1);
        if (aborted) {
            groups[0].abort("enough");
        }
        long start = System.nanoTime();
        groups[0].close();
        long millis = (System.nanoTime() - start) / 1_000_000;
        assertTrue(millis >= 10_000 && millis < 13_000, millis + " ms");
        assertEquals(Optional.of("cuda:0: " + call + " has not come back within 10000 ms"), device.lost());
        assertTrue(device.statistics().currentBytes() > own, "memory that NCCL may still use is given back");
        SimulatedDriver.hangEnd(0);
        groups[1].abort("enough");
        groups[1].close();
        assertEquals(Optional.empty(), devices.of(1).lost());
        devices.expectLost(0);
    }

    /** NCCL's own end is for ranks that are through with each other. */
    @OnlySimulated("how a communicator has ended")
    @Test
    void onlyAGroupThatHasFailedIsAborted() {
        for (boolean fails : new boolean[] {false, true}) {
            Meeting meeting = new Meeting(2, LIMIT);
            long before = SimulatedDriver.aborts();
            Ranks.run(2, rank -> {
                try (NcclCollectives group = join(meeting, rank, rank, LIMIT, new AbortSignal())) {
                    group.barrier().await();
                    if (fails) {
                        group.abort("enough");
                    }
                }
                return null;
            });
            assertEquals(fails ? 2 : 0, SimulatedDriver.aborts() - before);
        }
    }

    @Test
    void whatWasOverBeforeAFailureStaysGood() {
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            try (NcclCollectives group = join(meeting, rank, rank, LIMIT, new AbortSignal())) {
                Pending barrier = group.barrier();
                barrier.await();
                group.abort("enough");
                barrier.await();
                assertThrows(CollectiveException.class, () -> group.barrier().await());
            }
            return null;
        });
    }

    @Test
    void twoRanksOnOneGpuAreRefusedBeforeNcclIsAsked() {
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            CollectiveException e =
                    assertThrows(CollectiveException.class, () -> join(meeting, rank, 0, LIMIT, new AbortSignal()));
            assertTrue(
                    e.getMessage()
                            .matches("ranks 0 and 1 are both on GPU [0-9a-f]{32} at [0-9a-f:.]+: "
                                    + "every worker needs a GPU of its own"),
                    e.getMessage());
            return null;
        });
    }

    @OnlySimulated("the version of NCCL")
    @Test
    void anNcclThatIsTooOldIsRefusedByAllRanks() {
        SimulatedDriver.ncclVersion(21806);
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            CollectiveException e =
                    assertThrows(CollectiveException.class, () -> join(meeting, rank, rank, LIMIT, new AbortSignal()));
            assertEquals("rank 0: NCCL 2.18.6 is too old, 2.19.1 is the oldest that will do", e.getMessage());
            return null;
        });
    }

    @Test
    void aRankThatDoesNotConnectEndsTheMeetingInTime() {
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            if (rank == 1) {
                // Comes to the rendezvous only.
                byte[] entry = new Roll.Entry("", "2.23.4", "elsewhere", "00", "0000:01:00.0", new byte[0]).bytes();
                meeting.of(1).exchange("nccl", entry);
                return null;
            }
            long start = System.nanoTime();
            CollectiveException e = assertThrows(
                    CollectiveException.class, () -> join(meeting, 0, 0, Duration.ofMillis(700), new AbortSignal()));
            assertTrue(
                    e.getMessage()
                            .contains("ncclCommInitRankConfig of rank 0 of 2 on cuda:0 has not ended within 700 ms"),
                    e.getMessage());
            assertTrue(System.nanoTime() - start < 2_000_000_000L);
            return null;
        });
    }

    @Test
    void itHoldsTheMemoryThatThePlanCounts() {
        Meeting meeting = new Meeting(2, LIMIT);
        PlanDevice plan = new PlanDevice();
        Map<Purpose, Long> planned;
        try (PlanCollectives paper = new PlanCollectives(0, 2, plan, true)) {
            assertEquals(2, paper.size());
            planned = plan.statistics().currentByPurpose();
        }
        Ranks.run(2, rank -> {
            CudaDevice device = devices.of(rank);
            try (NcclCollectives group =
                    NcclCollectives.join(meeting.of(rank), rank, 2, device, LIMIT, new AbortSignal(), false)) {
                assertEquals(planned, device.statistics().currentByPurpose());
                group.allocateShared(DType.F32, 1000);
                assertEquals(planned, device.statistics().currentByPurpose());
            }
            return null;
        });
    }
}
