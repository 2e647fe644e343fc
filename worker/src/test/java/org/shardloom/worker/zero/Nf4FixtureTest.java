package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;

/** NF4 with and without double quantisation, value by value as bitsandbytes has it. */
class Nf4FixtureTest {
    @ParameterizedTest
    @ValueSource(strings = {"a", "b"})
    void codesAndScalesEqualTheReference(String matrix) throws Exception {
        try (TensorSource reference =
                        TinyModel.open(SharedFixtures.require("nf4").resolve("nf4.safetensors"));
                CpuDevice device = new CpuDevice(1);
                Memory memory = device.memory(Purpose.WORKSPACE)) {
            float[] weight = reference.readAll(matrix + "/weight");
            int n = weight.length;
            int blocks = (n + 63) / 64;
            Tensor x = Inputs.floats(device, memory, weight, n);
            Tensor codes = memory.allocate(DType.F32, (n + 7) / 8);
            Tensor absmax = memory.allocate(DType.F32, blocks);
            NativeCpu.nf4Quantize(codes.address(), absmax.address(), x.address(), n);
            assertArrayEquals(bytes(reference, matrix + "/single/packed"), bytes(device, codes, (n + 1) / 2));
            assertArrayEquals(reference.readAll(matrix + "/single/absmax"), Inputs.toFloats(device, absmax));
            DType dtype = matrix.equals("a") ? DType.F32 : DType.F16;
            assertValues(
                    reference.readAll(matrix + "/single/dequantized"),
                    dequantized(device, memory, dtype, codes, absmax, n));

            double sum = 0;
            for (float scale : Inputs.toFloats(device, absmax)) {
                sum += scale;
            }
            float offset = (float) (sum / blocks);
            assertEquals(reference.readAll(matrix + "/double/absmax_offset")[0], offset, 1e-7 * Math.abs(offset));
            Tensor scaleCodes = memory.allocate(DType.F32, (blocks + 3) / 4);
            Tensor nested = memory.allocate(DType.F32, (blocks + 255) / 256);
            NativeCpu.absmaxQuantize(scaleCodes.address(), nested.address(), absmax.address(), offset, blocks);
            assertArrayEquals(bytes(reference, matrix + "/double/absmax_code"), bytes(device, scaleCodes, blocks));
            assertValues(reference.readAll(matrix + "/double/nested_absmax"), Inputs.toFloats(device, nested));
            Tensor scales = memory.allocate(DType.F32, blocks);
            device.ops().dequantizeAbsmax(scales, scaleCodes, nested, offset);
            assertValues(reference.readAll(matrix + "/double/absmax_dequantized"), Inputs.toFloats(device, scales));
            assertValues(
                    reference.readAll(matrix + "/double/dequantized"),
                    dequantized(device, memory, dtype, codes, scales, n));
        }
    }

    private static float[] dequantized(
            CpuDevice device, Memory memory, DType dtype, Tensor codes, Tensor absmax, int n) {
        Tensor out = memory.allocate(dtype, n);
        device.ops().dequantizeNf4(out, codes, absmax);
        Tensor wide = memory.allocate(DType.F32, n);
        device.ops().convert(wide, out);
        return Inputs.toFloats(device, wide);
    }

    private static void assertValues(float[] expected, float[] found) {
        assertEquals(expected.length, found.length);
        for (int i = 0; i < found.length; i++) {
            assertEquals(expected[i], found[i], 1e-6 * Math.abs(expected[i]), "value " + i);
        }
    }

    private static byte[] bytes(TensorSource source, String name) throws Exception {
        byte[] bytes = new byte[(int) source.info(name).byteCount()];
        source.readRaw(name, 0, ByteBuffer.wrap(bytes));
        return bytes;
    }

    private static byte[] bytes(CpuDevice device, Tensor tensor, int count) {
        ByteBuffer all = ByteBuffer.allocateDirect((int) tensor.bytes()).order(ByteOrder.nativeOrder());
        device.read(tensor, all);
        byte[] bytes = new byte[count];
        all.get(0, bytes);
        return bytes;
    }
}
