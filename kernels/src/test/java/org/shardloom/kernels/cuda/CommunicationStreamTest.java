package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import jcuda.Pointer;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The order between the communication stream and others. */
class CommunicationStreamTest {
    private static final int DELAY_MICROS = 2000;

    @OnlySimulated("delays, and a wait left out")
    @Test
    void aCopyInAThirdStreamComesAfterAnOperation() {
        int early = 0;
        for (int seed = 1; seed <= 12; seed++) {
            assertEquals(0, copied(seed, true), "seed " + seed);
            early += copied(seed, false) == 0 ? 0 : 1;
        }
        assertTrue(early > 0, "without the wait, some delays must show it");
    }

    /** The operation clears what the compute stream has written; what a third stream then finds. */
    private static float copied(int seed, boolean wait) {
        SimulatedDriver.start(1, 1 << 24, seed, DELAY_MICROS);
        ByteBuffer result = ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder());
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory memory = device.memory(Purpose.GRADIENTS)) {
            Tensor x = memory.allocate(DType.F32, 1);
            device.write(
                    x,
                    ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder()).putFloat(0, 3));
            CommunicationStream stream = device.communication();
            CUstream third = new CUstream();
            JCudaDriver.cuStreamCreate(third, 0);
            stream.afterCompute().release();
            stream.clear(x.address(), x.bytes());
            CommunicationStream.Operation operation = operation(stream, new AtomicReference<>());
            if (wait) {
                operation.holdBack(third);
            }
            JCudaDriver.cuMemcpyDtoHAsync(Pointer.to(result), Address.pointer(x.address()), 4, third);
            JCudaDriver.cuStreamSynchronize(third);
            JCudaDriver.cuStreamDestroy(third);
            operation.awaitOnHost();
            assertTrue(operation.poll());
        }
        String race =
                "unsynchronised: a copy to the host in the other stream, which reads, does not wait for a %s, which writes";
        assertEquals(
                wait
                        ? List.of()
                        : List.of(
                                race.formatted("copy to the device in the compute stream"),
                                race.formatted("fill in the communication stream")),
                SimulatedDriver.reports());
        return result.getFloat(0);
    }

    private static CommunicationStream.Operation operation(
            CommunicationStream stream, AtomicReference<RuntimeException> failure) {
        CommunicationStream.Operation operation = stream.new Operation() {
            @Override
            protected RuntimeException failure() {
                return failure.get();
            }
        };
        operation.issued();
        return operation;
    }

    @Test
    void aGuardFailsWaitsOfTheHostUntilItIsRemoved() {
        SimulatedDriver.start(1, 1 << 24, 1, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images())) {
            AtomicReference<RuntimeException> failure = new AtomicReference<>();
            Supplier<RuntimeException> guard = failure::get;
            device.communication().guard(guard);
            device.synchronize();
            CommunicationStream.Operation before = operation(device.communication(), failure);
            before.awaitOnHost();
            failure.set(new IllegalStateException("lost"));
            assertThrows(IllegalStateException.class, device::synchronize);
            before.await();
            CommunicationStream.Operation after = operation(device.communication(), failure);
            assertThrows(IllegalStateException.class, after::await);
            after.abandon();
            device.communication().removeGuard(guard);
            device.synchronize();
        }
    }

    @OnlySimulated("the identities of its devices")
    @Test
    void devicesAreToldApart() {
        SimulatedDriver.start(2, 1 << 24, 1, 0);
        try (CudaDevice first = new CudaDevice(0, SimulatedDriver.images());
                CudaDevice second = new CudaDevice(1, SimulatedDriver.images())) {
            assertEquals("0000:01:00.0", first.identity().pciBusId());
            assertEquals("0000:02:00.0", second.identity().pciBusId());
            assertEquals(32, first.identity().uuid().length());
            assertTrue(!first.identity().uuid().equals(second.identity().uuid()));
        }
    }
}
