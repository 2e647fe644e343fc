package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

class CpuDeviceTest {
    @Test
    void whatIsWrittenIsReadBack() {
        try (CpuDevice device = new CpuDevice(2);
                Memory memory = device.memory(Purpose.WORKSPACE)) {
            float[] values = {1.5f, -2, 0, 1e30f, Float.MIN_VALUE, 7};
            Tensor tensor = Inputs.floats(device, memory, values, 2, 3);
            assertArrayEquals(values, Inputs.toFloats(device, tensor));
            assertArrayEquals(new float[] {1e30f, Float.MIN_VALUE, 7}, Inputs.toFloats(device, tensor.slice(1, 1)));
            assertEquals(24, device.statistics().currentBytes());
        }
    }

    @Test
    void buffersOfAnotherSizeAreRefused() {
        try (CpuDevice device = new CpuDevice(1);
                Memory memory = device.memory(Purpose.WORKSPACE)) {
            Tensor tensor = memory.allocate(DType.BF16, 3);
            assertThrows(IllegalArgumentException.class, () -> device.write(tensor, ByteBuffer.allocate(8)));
            assertThrows(IllegalArgumentException.class, () -> device.read(tensor, ByteBuffer.allocate(5)));
        }
    }
}
