package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Meeting;
import org.shardloom.kernels.collective.Ranks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.OnlySimulated;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Collectives take their turn between operations of the compute stream, whatever the delays, though no thread waits. */
@Timeout(90)
class NcclOrderTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private static final int DELAY_MICROS = 2000;
    private static final int N = 1000;

    /** When waits between the streams are left out. */
    private enum Fault {
        NONE,
        AT_ISSUE,
        AT_AWAIT
    }

    @Test
    void operandsAreComputedBeforeAndResultsAreUsedAfterACollective() {
        for (int seed = 1; seed <= 10; seed++) {
            assertEquals(0, wrongNumbers(seed, Fault.NONE), "seed " + seed);
        }
    }

    @OnlySimulated("delays, and waits left out")
    @Test
    void withoutTheWaitForTheComputeStreamOperandsAreReadBeforeTheyAreThere() {
        assertShows(Fault.AT_ISSUE);
    }

    @OnlySimulated("delays, and waits left out")
    @Test
    void withoutTheWaitForTheCollectiveItsResultIsReadBeforeItIsThere() {
        assertShows(Fault.AT_AWAIT);
    }

    @OnlySimulated("delays, and waits left out")
    @Test
    void aRankAloneKeepsTheOrderToo() {
        int wrong = 0;
        for (int seed = 1; seed <= 10; seed++) {
            assertEquals(11, alone(seed, Fault.NONE), "seed " + seed);
            wrong += alone(seed, Fault.AT_ISSUE) == 11 ? 0 : 1;
        }
        assertTrue(wrong > 0, "no delay of ten has shown that waits are missing");
    }

    /** 5 is computed, gathered and doubled, and one added. */
    private static float alone(long seed, Fault fault) {
        try (SimulatedDevices devices = new SimulatedDevices(1, seed, DELAY_MICROS);
                AloneOnDevice group = new AloneOnDevice(devices.of(0));
                Memory memory = devices.of(0).memory(Purpose.GRADIENTS)) {
            CudaDevice device = devices.of(0);
            Tensor one = filled(device, memory, 1, 1), slice = filled(device, memory, 1, 1);
            Tensor full = filled(device, memory, 1, 0);
            device.synchronize();
            SimulatedDriver.dropWaits(fault == Fault.AT_ISSUE ? -1 : 0);
            device.ops().scale(slice, 5);
            group.allGather(full, slice).await();
            device.ops().scale(full, 2);
            device.ops().add(full, full, one);
            ByteBuffer value = ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder());
            device.read(full, value);
            return value.getFloat(0);
        }
    }

    private static void assertShows(Fault fault) {
        int wrong = 0;
        for (int seed = 1; seed <= 10; seed++) {
            wrong += wrongNumbers(seed, fault) == 0 ? 0 : 1;
        }
        assertTrue(wrong > 0, "no delay of ten has shown that waits are missing");
    }

    /** Each rank computes rank + 1, all gather, each doubles what it has got; then the same through a sum. How many numbers are not right. */
    private static int wrongNumbers(long seed, Fault fault) {
        AtomicInteger wrong = new AtomicInteger();
        CyclicBarrier together = new CyclicBarrier(2);
        try (SimulatedDevices devices = new SimulatedDevices(2, seed, DELAY_MICROS)) {
            Meeting meeting = new Meeting(2, LIMIT);
            Ranks.run(2, rank -> {
                CudaDevice device = devices.of(rank);
                try (NcclCollectives group = NcclCollectives.join(
                                meeting.of(rank),
                                rank,
                                2,
                                device,
                                LIMIT,
                                new AbortSignal(),
                                true,
                                NcclCollectivesTest.PIECE_BYTES);
                        Memory memory = device.memory(Purpose.GRADIENTS)) {
                    Tensor slice = filled(device, memory, N, 1), full = filled(device, memory, 2 * N, 0);
                    Tensor sum = filled(device, memory, N, 0);
                    phase(together, fault == Fault.AT_ISSUE);
                    device.ops().scale(slice, rank + 1);
                    Pending gathered = group.allGather(full, slice);
                    phase(together, fault == Fault.AT_AWAIT);
                    gathered.await();
                    phase(together, fault == Fault.AT_ISSUE);
                    device.ops().scale(full, 2);
                    Pending reduced = group.reduceScatter(sum, full, DType.F32, false);
                    phase(together, fault == Fault.AT_AWAIT);
                    reduced.await();
                    phase(together, false);
                    device.ops().scale(sum, 10);
                    ByteBuffer values = ByteBuffer.allocateDirect(4 * N).order(ByteOrder.nativeOrder());
                    device.read(sum, values);
                    for (int i = 0; i < N; i++) {
                        wrong.addAndGet(values.getFloat(4 * i) == 40 * (rank + 1) ? 0 : 1);
                    }
                }
                return null;
            });
        }
        return wrong.get();
    }

    /** When both ranks have come here, waits are left out, or not. */
    private static void phase(CyclicBarrier together, boolean drop) throws Exception {
        together.await();
        if (SimulatedDriver.simulated()) {
            SimulatedDriver.dropWaits(drop ? -1 : 0);
        }
        together.await();
    }

    private static Tensor filled(CudaDevice device, Memory memory, int n, float value) {
        Tensor tensor = memory.allocate(DType.F32, n);
        ByteBuffer bytes = ByteBuffer.allocateDirect(4 * n).order(ByteOrder.nativeOrder());
        for (int i = 0; i < n; i++) {
            bytes.putFloat(4 * i, value);
        }
        device.write(tensor, bytes);
        return tensor;
    }

    /** Slices that come from the host are gathered when they have come. */
    @Test
    void aSliceIsGatheredWhenItHasCome() {
        try (SimulatedDevices devices = new SimulatedDevices(2, 1, 0)) {
            Meeting meeting = new Meeting(2, LIMIT);
            Ranks.run(2, rank -> {
                CudaDevice device = devices.of(rank);
                try (NcclCollectives group = NcclCollectives.join(
                                meeting.of(rank),
                                rank,
                                2,
                                device,
                                LIMIT,
                                new AbortSignal(),
                                true,
                                NcclCollectivesTest.PIECE_BYTES);
                        Memory memory = device.memory(Purpose.GATHERED);
                        Memory host = device.hostMemory(Purpose.PARAMETERS)) {
                    Tensor full = filled(device, memory, 2 * N, 0), slice = full.slice((long) rank * N, N);
                    Tensor up = host.allocate(DType.F32, N);
                    for (int i = 0; i < N; i++) {
                        HostBytes.view(up.address(), up.bytes()).putFloat(4 * i, rank + 1);
                    }
                    device.synchronize();
                    group.barrier().await();
                    SimulatedDriver.slow(SimulatedDriver.Lane.TO_DEVICE, 40_000);
                    group.allGather(full, slice, device.toDevice(slice, up)).await();
                    float[] all = Inputs.toFloats(device, full);
                    for (int i = 0; i < 2 * N; i++) {
                        assertEquals(1 + i / N, all[i], "number " + i);
                    }
                }
                return null;
            });
        }
    }

    /** The host goes on behind a barrier when all have come to it. */
    @Test
    void aBarrierHoldsUpTheHost() {
        AtomicInteger come = new AtomicInteger();
        try (SimulatedDevices devices = new SimulatedDevices(2, 1, 0)) {
            Meeting meeting = new Meeting(2, LIMIT);
            Ranks.run(2, rank -> {
                try (NcclCollectives group = NcclCollectives.join(
                        meeting.of(rank),
                        rank,
                        2,
                        devices.of(rank),
                        LIMIT,
                        new AbortSignal(),
                        true,
                        NcclCollectivesTest.PIECE_BYTES)) {
                    Thread.sleep(300 * rank);
                    come.incrementAndGet();
                    group.barrier().await();
                    assertEquals(2, come.get());
                }
                return null;
            });
        }
    }

    /** Many operations of all kinds, none waited for on the host, against the same on paper. */
    @Test
    void aLongChainIsTheSameWhateverTheDelays() {
        for (int seed = 1; seed <= 8; seed++) {
            String message = "seed " + seed;
            try (SimulatedDevices devices = new SimulatedDevices(3, seed, 300)) {
                Meeting meeting = new Meeting(3, LIMIT);
                List<float[]> results = Ranks.run(3, rank -> chain(devices.of(rank), meeting, rank));
                float expected = 1;
                for (int round = 0; round < 10; round++) {
                    // scaled by rank + 1 and summed, 6 times; then all-reduced, 3 times; then halved.
                    expected = (expected * 6 + expected) * 3 / 32;
                }
                for (float[] result : results) {
                    for (float value : result) {
                        assertEquals(expected, value, message);
                    }
                }
            }
        }
    }

    private static float[] chain(CudaDevice device, Meeting meeting, int rank) {
        try (NcclCollectives group = NcclCollectives.join(
                        meeting.of(rank),
                        rank,
                        3,
                        device,
                        LIMIT,
                        new AbortSignal(),
                        true,
                        NcclCollectivesTest.PIECE_BYTES);
                Memory memory = device.memory(Purpose.GRADIENTS)) {
            Tensor full = filled(device, memory, 3 * N, 1), copy = memory.allocate(DType.F32, 3 * N);
            for (int round = 0; round < 10; round++) {
                Tensor slice = full.slice((long) rank * N, N);
                device.ops().zero(copy);
                device.ops().add(copy, copy, full);
                device.ops().scale(copy, rank + 1);
                group.reduceScatter(slice, copy, DType.F32, true).await();
                group.allReduce(slice).await();
                device.ops().scale(slice, 1 / 32f);
                group.allGather(full, slice).await();
                group.broadcast(full, round % 3).await();
            }
            ByteBuffer bytes = ByteBuffer.allocateDirect(12 * N).order(ByteOrder.nativeOrder());
            device.read(full, bytes);
            float[] values = new float[3 * N];
            bytes.rewind().asFloatBuffer().get(values);
            return values;
        }
    }
}
