package org.shardloom.kernels.collective.nccl;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Meeting;
import org.shardloom.kernels.collective.Operands;
import org.shardloom.kernels.collective.Pattern;
import org.shardloom.kernels.collective.Ranks;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Sums that NCCL takes, in an order of its own: those of 16-bit operands in fp32 all the same. */
@Timeout(90)
class NcclSumsTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private static final int SIZE = 3;
    /** Several pieces. */
    private static final int N = 50_001;

    @Test
    void sumsAreTakenInFp32WhateverTheOperands() {
        try (SimulatedDevices devices = new SimulatedDevices(SIZE, 9, 100)) {
            Meeting meeting = new Meeting(SIZE, LIMIT);
            Ranks.run(SIZE, rank -> {
                CudaDevice device = devices.of(rank);
                try (NcclCollectives group = NcclCollectives.join(
                                meeting.of(rank),
                                rank,
                                SIZE,
                                device,
                                LIMIT,
                                new AbortSignal(),
                                false,
                                NcclCollectivesTest.PIECE_BYTES);
                        Operands memory = Operands.on(device)) {
                    for (DType dtype : DType.values()) {
                        for (int absent = -1; absent <= SIZE; absent++) {
                            scatter(device, group, memory, dtype, absent, false);
                            scatter(device, group, memory, dtype, absent, true);
                        }
                    }
                    Tensor tensor = memory.fill(memory.allocate(DType.F32, N), rank, 0);
                    group.allReduce(tensor).await();
                    check(device, tensor, DType.F32, 0, -1, false);
                }
                return null;
            });
        }
    }

    private static void scatter(
            CudaDevice device, NcclCollectives group, Operands memory, DType dtype, int absent, boolean accumulate) {
        int rank = group.rank();
        Tensor full = memory.fill(memory.allocate(dtype, (long) SIZE * N), rank, 0);
        Tensor sum = memory.fill(memory.allocate(DType.F32, N), 77, 0);
        group.reduceScatter(sum, absent == rank || absent == SIZE ? null : full, dtype, accumulate)
                .await();
        check(device, sum, dtype, (long) rank * N, absent, accumulate);
    }

    private static void check(CudaDevice device, Tensor sum, DType dtype, long from, int absent, boolean accumulate) {
        ByteBuffer values = ByteBuffer.allocateDirect(4 * N).order(ByteOrder.nativeOrder());
        device.read(sum, values);
        for (int i = 0; i < N; i++) {
            double expected = accumulate ? Pattern.value(77, i, DType.F32) : 0, size = Math.abs(expected);
            for (int r = 0; r < SIZE; r++) {
                double value = r == absent || absent == SIZE ? 0 : Pattern.value(r, from + i, dtype);
                expected += value;
                size += Math.abs(value);
            }
            assertEquals(expected, values.getFloat(4 * i), size * 2e-7, dtype + " element " + i);
        }
    }
}
