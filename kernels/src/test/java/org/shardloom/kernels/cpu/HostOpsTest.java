package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

class HostOpsTest {
    private static final HostOps OPS = CpuHostOps.INSTANCE;
    private static final HostOps.Adamw SETTINGS = new HostOps.Adamw(1e-2f, 0.9, 0.99, 1e-8f, 0.1f, 0.1f, 0.01f, 0.5f);

    /** Written over the gradient, in ranges with and without decay, the weights are those written elsewhere. */
    @ParameterizedTest
    @CsvSource({"BF16,100", "BF16,4096", "F16,4097", "BF16,8192", "F16,100003", "BF16,1000000"})
    void newWeightsTakeTheGradientsPlace(DType dtype, int n) {
        try (CpuDevice device = new CpuDevice(2);
                Memory memory = device.memory(Purpose.OPTIMIZER)) {
            Random random = new Random(n);
            Tensor[][] state = new Tensor[2][];
            for (int way = 0; way < 2; way++) {
                Random same = new Random(7 + n);
                state[way] = new Tensor[] {
                    drawn(device, memory, n, same, false),
                    drawn(device, memory, n, same, false),
                    drawn(device, memory, n, same, true),
                    drawn(device, memory, n, same, false)
                };
            }
            Tensor elsewhere = memory.allocate(dtype, n);
            Tensor piece = memory.allocate(dtype, HostOps.FIRST_PIECE);
            long cut = random.nextInt(n);
            for (int part = 0; part < 2; part++) {
                long from = part == 0 ? 0 : cut, count = part == 0 ? cut : n - cut;
                HostOps.Adamw settings = SETTINGS.withDecay(part * 0.1f);
                Tensor[] a = state[0], b = state[1];
                OPS.adamw(
                        a[0].slice(from, count),
                        a[1].slice(from, count),
                        a[2].slice(from, count),
                        a[3].slice(from, count),
                        elsewhere.slice(from, count),
                        settings);
                OPS.adamwInPlace(b[0], b[1], b[2], b[3], piece, from, count, settings);
            }
            Tensor there = new Tensor(state[1][3].address(), dtype, n);
            long beginning = Math.min(n, HostOps.FIRST_PIECE);
            OPS.convert(there.slice(0, beginning), piece.slice(0, beginning));
            assertArrayEquals(wide(device, memory, elsewhere), wide(device, memory, there));
            for (int i = 0; i < 3; i++) {
                assertArrayEquals(Inputs.toFloats(device, state[0][i]), Inputs.toFloats(device, state[1][i]));
            }
        }
    }

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

    private static Tensor drawn(CpuDevice device, Memory memory, int n, Random random, boolean positive) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) (positive ? Math.abs(random.nextGaussian()) : random.nextGaussian());
        }
        return Inputs.floats(device, memory, values, n);
    }

    private static float[] wide(CpuDevice device, Memory memory, Tensor tensor) {
        Tensor wide = memory.allocate(DType.F32, tensor.elements());
        OPS.convert(wide, tensor);
        return Inputs.toFloats(device, wide);
    }
}
