package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Each wait between two streams, or of the host for a stream, while the one that is waited for is slow and all else is not. */
@Timeout(60)
class StreamOrderTest {
    private static final int N = 1000;
    private static final int SLOW_MICROS = 40_000;

    private CudaDevice device;
    private CommunicationStream communication;
    private Memory memory;
    private Memory pinned;

    @BeforeEach
    void open() {
        SimulatedDriver.start(1, 1 << 26, 1, 0);
        device = new CudaDevice(0, SimulatedDriver.images());
        communication = device.communication();
        memory = device.memory(Purpose.GRADIENTS);
        pinned = device.hostMemory(Purpose.GRADIENTS);
    }

    @AfterEach
    void close() {
        if (device == null) { // skipped: there is no GPU
            return;
        }
        memory.close();
        pinned.close();
        device.close();
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    private void slow(Lane lane) {
        device.synchronize();
        SimulatedDriver.slow(lane, SLOW_MICROS);
    }

    private Tensor filled(float value) {
        float[] values = new float[N];
        Arrays.fill(values, value);
        return Inputs.floats(device, memory, values, N);
    }

    private Tensor onHost(float value) {
        Tensor host = pinned.allocate(DType.F32, N);
        fill(host, value);
        return host;
    }

    private static void fill(Tensor host, float value) {
        for (int i = 0; i < N; i++) {
            HostBytes.view(host.address(), host.bytes()).putFloat(4 * i, value);
        }
    }

    private static void assertHost(float expected, Tensor host) {
        for (int i = 0; i < N; i++) {
            assertEquals(expected, HostBytes.view(host.address(), host.bytes()).getFloat(4 * i), "number " + i);
        }
    }

    private void assertDevice(float expected, Tensor tensor) {
        float[] all = new float[N];
        Arrays.fill(all, expected);
        assertArrayEquals(all, Inputs.toFloats(device, tensor));
    }

    @Test
    void aCopyToTheHostComesAfterWhatWasComputed() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.COMPUTE);
        device.ops().scale(a, 2);
        device.toHost(host, a, device.issued()).await();
        assertHost(6, host);
    }

    @Test
    void aCopyToTheHostComesAfterAnyThingAwaited() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.COMPUTE);
        device.toHost(host, a, () -> device.ops().scale(a, 2)).await();
        assertHost(6, host);
    }

    @Test
    void aCopyToTheHostComesAfterTheCollective() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.COMMUNICATION);
        communication.clear(a.address(), a.bytes());
        device.toHost(host, a, operation()).await();
        assertHost(0, host);
    }

    @Test
    void theHostWaitsForACopyToIt() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.TO_HOST);
        device.toHost(host, a, device.issued()).await();
        assertHost(3, host);
    }

    @Test
    void whatIsComputedAfterACopyToTheHostDoesNotReachIt() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.TO_HOST);
        Device.Transfer copy = device.toHost(host, a, device.issued());
        copy.join();
        device.ops().zero(a);
        copy.await();
        assertHost(3, host);
    }

    @Test
    void aCopyToTheDeviceComesAfterWhatWasComputedOfItsPlace() {
        Tensor a = filled(3), b = filled(0), host = onHost(5);
        slow(Lane.COMPUTE);
        device.ops().add(b, b, a);
        device.toDevice(a, host).join();
        assertDevice(3, b);
        assertDevice(5, a);
    }

    /** As new weights go back while the layers below are computed. */
    @Test
    @OnlySimulated("a stream that is slow")
    void copiesAreNotHeldBackByWhatIsComputedLater() {
        Tensor a = filled(3), b = filled(0), host = onHost(5), back = onHost(0);
        Pending before = device.issued();
        device.synchronize();
        SimulatedDriver.slow(Lane.COMPUTE, 50 * SLOW_MICROS);
        device.ops().zero(b);
        StreamPoint later = (StreamPoint) device.issued();
        device.toDevice(a, host, before).await();
        device.toHost(back, a, before).await();
        assertFalse(later.event().reached(), "the copies waited for it");
        device.synchronize();
        assertHost(5, back);
    }

    @Test
    void whatIsComputedAfterACopyToTheDeviceFindsIt() {
        Tensor a = filled(3), host = onHost(5);
        slow(Lane.TO_DEVICE);
        device.toDevice(a, host).join();
        assertDevice(5, a);
    }

    @Test
    void theHostWaitsForACopyFromIt() {
        Tensor a = filled(3), host = onHost(5);
        slow(Lane.TO_DEVICE);
        Device.Transfer copy = device.toDevice(a, host);
        copy.await();
        fill(host, 7);
        copy.join();
        assertDevice(5, a);
    }

    @Test
    void collectivesComeAfterWhatWasComputed() {
        Tensor a = filled(3), b = filled(0);
        slow(Lane.COMPUTE);
        device.ops().scale(a, 2);
        communication.afterCompute().release();
        communication.copy(b.address(), a.address(), a.bytes());
        communication.beforeCompute();
        assertDevice(6, b);
    }

    @Test
    void whatIsComputedComesAfterCollectives() {
        for (boolean operation : new boolean[] {false, true}) {
            Tensor a = filled(3);
            slow(Lane.COMMUNICATION);
            communication.clear(a.address(), a.bytes());
            if (operation) {
                operation().await();
            } else {
                communication.beforeCompute();
            }
            assertDevice(0, a);
        }
    }

    @Test
    void collectivesComeAfterACopyToTheDevice() {
        Tensor a = filled(3), b = filled(0), host = onHost(5);
        slow(Lane.TO_DEVICE);
        communication.after(device.toDevice(a, host));
        communication.copy(b.address(), a.address(), a.bytes());
        communication.beforeCompute();
        assertDevice(5, b);
    }

    @Test
    void collectivesComeAfterACopyThatOnlyTheHostCanWaitFor() {
        Tensor a = filled(3), b = filled(0), host = onHost(5);
        slow(Lane.TO_DEVICE);
        Device.Transfer copy = device.toDevice(a, host);
        communication.after(new Device.Transfer() {
            @Override
            public void await() {
                copy.await();
            }

            @Override
            public void join() {}
        });
        communication.copy(b.address(), a.address(), a.bytes());
        communication.beforeCompute();
        assertDevice(5, b);
    }

    @Test
    void theHostWaitsForACollective() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.COMMUNICATION);
        communication.toHost(host.address(), a.address(), a.bytes());
        operation().awaitOnHost();
        assertHost(3, host);
    }

    private CommunicationStream.Operation operation() {
        CommunicationStream.Operation operation = communication.new Operation() {
            @Override
            protected RuntimeException failure() {
                return null;
            }
        };
        operation.issued();
        return operation;
    }

    /** Five times what the page-locked block holds. */
    @Test
    void largeBuffersGoPieceByPiece() {
        int n = 5 * Staging.BYTES / 4;
        Tensor tensor = memory.allocate(DType.F32, n);
        ByteBuffer up = ByteBuffer.allocateDirect(4 * n).order(ByteOrder.nativeOrder());
        ByteBuffer down = ByteBuffer.allocateDirect(4 * n).order(ByteOrder.nativeOrder());
        for (int i = 0; i < n; i++) {
            up.putInt(4 * i, i);
        }
        slow(Lane.COMPUTE);
        device.write(tensor, up);
        device.read(tensor, down);
        assertEquals(up, down);
    }

    /** What was written last is still in the block when something is read through it. */
    @Test
    void aReadingLeavesAloneWhatIsBeingWritten() {
        Tensor first = filled(1), second = filled(2);
        slow(Lane.COMPUTE);
        for (int round = 0; round < 3; round++) {
            device.write(first, bytes(10 + round));
            assertDevice(2, second);
            device.write(second, bytes(2));
            assertDevice(10 + round, first);
        }
    }

    private static ByteBuffer bytes(float value) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(4 * N).order(ByteOrder.nativeOrder());
        for (int i = 0; i < N; i++) {
            bytes.putFloat(4 * i, value);
        }
        return bytes;
    }

    @Test
    void theHostWaitsForAllStreams() {
        Tensor a = filled(3), host = onHost(0);
        slow(Lane.TO_HOST);
        device.toHost(host, a, device.issued());
        device.synchronize();
        assertHost(3, host);

        slow(Lane.TO_DEVICE);
        Device.Transfer copy = device.toDevice(a, host);
        device.synchronize();
        fill(host, 7);
        copy.join();
        assertDevice(3, a);

        slow(Lane.COMMUNICATION);
        communication.toHost(host.address(), a.address(), a.bytes());
        device.synchronize();
        assertHost(3, host);

        slow(Lane.COMPUTE);
        device.ops().scale(a, 2);
        device.synchronize();
        communication.toHost(host.address(), a.address(), a.bytes());
        operation().awaitOnHost();
        assertHost(6, host);
    }

    @Test
    void memoryGoesBackToTheDriverWhenNothingUsesItAnyMore() {
        for (Lane lane : new Lane[] {Lane.COMPUTE, Lane.COMMUNICATION}) {
            Tensor a = filled(3), b = filled(3);
            slow(lane);
            device.ops().scale(a, 2);
            communication.clear(b.address(), b.bytes());
            memory.free(a);
            memory.free(b);
            device.trim();
        }
    }
}
