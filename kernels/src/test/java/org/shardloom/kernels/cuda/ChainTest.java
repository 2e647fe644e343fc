package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Operations issued one after the other, without waiting, in memory of the device and with a stream that lags behind. */
class ChainTest {
    private static final int TOKENS = 70, HIDDEN = 32;
    private static final AttentionShape SHAPE = new AttentionShape(4, 2, 8, 4, true);

    @Test
    void aLayerForwardAndBackwardGivesWhatTheProcessorGives() {
        float[] expected;
        try (CpuDevice cpu = new CpuDevice(2)) {
            expected = layer(cpu);
        }
        for (int seed = 1; seed <= 3; seed++) {
            SimulatedDriver.start(1, 1 << 27, seed, 500);
            try (CudaDevice cuda = new CudaDevice(0, SimulatedDriver.images())) {
                assertArrayEquals(expected, layer(cuda), 2e-5f, "seed " + seed);
                assertEquals(OpWorkspace.PRODUCTS, cuda.statistics().currentBytes());
            }
            assertEquals(List.of(), SimulatedDriver.reports());
        }
    }

    /** Norm, projection, rotation, attention and their gradients; the gradients of input, norm and projection, one after the other. */
    private static float[] layer(Device device) {
        Ops ops = device.ops();
        int width = (int) SHAPE.qkvWidth();
        Random random = new Random(5);
        try (Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            Tensor x = floats(device, memory, random, TOKENS, HIDDEN), scale = floats(device, memory, random, HIDDEN);
            Tensor weight = floats(device, memory, random, width, HIDDEN);
            Tensor gradContext = floats(device, memory, random, TOKENS, SHAPE.contextWidth());
            Tensor table = floats(device, memory, random, TOKENS, SHAPE.pairs(), 2);
            IndexTensor starts = Inputs.indices(device, memory, 0, 33, TOKENS);
            IndexTensor contexts = Inputs.indices(device, memory, 5, 0);
            int[] places = new int[TOKENS];
            for (int i = 0; i < TOKENS; i++) {
                places[i] = i;
            }
            IndexTensor positions = Inputs.indices(device, memory, places);
            Tensor normed = memory.allocate(DType.F32, TOKENS, HIDDEN), inverse = memory.allocate(DType.F32, TOKENS);
            Tensor qkv = memory.allocate(DType.F32, TOKENS, width), gradQkv = memory.allocate(DType.F32, TOKENS, width);
            Tensor context = memory.allocate(DType.F32, TOKENS, SHAPE.contextWidth());
            Tensor logSums = memory.allocate(DType.F32, TOKENS, SHAPE.heads());
            Tensor gradWeight = memory.allocate(DType.F32, width, HIDDEN),
                    gradScale = memory.allocate(DType.F32, HIDDEN);
            Tensor gradX = memory.allocate(DType.F32, TOKENS, HIDDEN);
            ops.rmsNorm(normed, inverse, null, x, null, scale, 1e-5f);
            ops.linear(qkv, normed, weight);
            ops.rotary(qkv, null, table, positions, SHAPE);
            ops.attention(context, logSums, qkv, starts, contexts, SHAPE);
            ops.attentionBackward(gradQkv, gradContext, context, logSums, qkv, starts, contexts, SHAPE);
            ops.rotaryBackward(gradQkv, table, positions, SHAPE);
            ops.linearBackwardWeight(gradWeight, gradQkv, normed, false);
            ops.linearBackwardInput(gradX, gradQkv, weight, false);
            ops.rmsNormBackward(gradX, gradScale, false, gradX, x, inverse, scale, null);
            float[] all = new float[TOKENS * HIDDEN + HIDDEN + width * HIDDEN];
            int at = 0;
            for (Tensor tensor : new Tensor[] {gradX, gradScale, gradWeight}) {
                float[] values = Inputs.toFloats(device, tensor);
                System.arraycopy(values, 0, all, at, values.length);
                at += values.length;
            }
            return all;
        }
    }

    private static Tensor floats(Device device, Memory memory, Random random, long... shape) {
        float[] values = new float[(int) new Tensor(0, DType.F32, shape).elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextFloat() - 0.5f;
        }
        return Inputs.floats(device, memory, values, shape);
    }
}
