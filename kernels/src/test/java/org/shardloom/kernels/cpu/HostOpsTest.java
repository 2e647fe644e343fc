package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

class HostOpsTest {
    private static final HostOps OPS = CpuHostOps.INSTANCE;

    @Test
    void sumsAreOfAllElements() {
        try (CpuDevice device = new CpuDevice(1);
                Memory memory = device.memory(Purpose.GRADIENTS)) {
            Tensor sum = Inputs.floats(device, memory, new float[] {1, 2, 3}, 3);
            OPS.add(sum, Inputs.floats(device, memory, new float[] {10, 20, 30}, 3));
            assertArrayEquals(new float[] {11, 22, 33}, Inputs.toFloats(device, sum));
            assertEquals(11 * 11 + 22 * 22 + 33 * 33, OPS.sumOfSquares(sum));
            OPS.zero(sum);
            assertEquals(0, OPS.sumOfSquares(sum));
        }
    }
}
