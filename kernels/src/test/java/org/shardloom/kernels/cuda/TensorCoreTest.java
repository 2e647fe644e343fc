package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Random;
import jcuda.driver.CUdeviceptr;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The simulation's tensor cores: operands laid out as the PTX ISA documents it give the product of the matrices. Factors are eighths of small
 * integers, so that every product and sum is exact.
 */
@OnlySimulated("the subject")
class TensorCoreTest {
    private static final int M = 16, N = 8, K = 16;

    @ParameterizedTest
    @ValueSource(strings = {"bf16", "f16"})
    void aProductIsThatOfTheMatrices(String type) {
        Random random = new Random(3);
        for (int round = 0; round < 5; round++) {
            double[] a = eighths(random, M * K), b = eighths(random, K * N), d = eighths(random, M * N);
            ByteBuffer sums = buffer(M * N * 4), left = buffer(M * K * 2), right = buffer(K * N * 2);
            for (int i = 0; i < d.length; i++) {
                sums.putFloat(4 * i, (float) d[i]);
            }
            put(left, type, a);
            put(right, type, b);
            assertEquals(List.of(), SimulationTest.reports(stream -> {
                CUdeviceptr[] blocks = {up(stream, sums), up(stream, left), up(stream, right)};
                stream.launch("probe_multiply_" + type, 1, 1, 32, 0, at(blocks[0]), at(blocks[1]), at(blocks[2]));
                stream.read(at(blocks[0]), sums);
                for (CUdeviceptr block : blocks) {
                    SimulationTest.free(block);
                }
            }));
            for (int row = 0; row < M; row++) {
                for (int column = 0; column < N; column++) {
                    double expected = d[row * N + column];
                    for (int k = 0; k < K; k++) {
                        expected += a[row * K + k] * b[k * N + column];
                    }
                    assertEquals(expected, sums.getFloat(4 * (row * N + column)), "row " + row + ", column " + column);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1})
    void aLoadGivesEachLaneItsPartOfTheMatrices(int transposed) {
        ByteBuffer elements = buffer(4 * 64 * 2), registers = buffer(32 * 4 * 4);
        for (int i = 0; i < 4 * 64; i++) {
            elements.putShort(2 * i, (short) i);
        }
        assertEquals(List.of(), SimulationTest.reports(stream -> {
            CUdeviceptr out = up(stream, registers), in = up(stream, elements);
            stream.launch("probe_load", 1, 1, 32, 4 * 64 * 2, at(out), at(in), transposed);
            stream.read(at(out), registers);
            SimulationTest.free(out);
            SimulationTest.free(in);
        }));
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < 4; i++) {
                for (int e = 0; e < 2; e++) {
                    int major = lane / 4, minor = lane % 4 * 2 + e;
                    int expected = i * 64 + (transposed == 1 ? minor * 8 + major : major * 8 + minor);
                    assertEquals(expected, registers.getShort((lane * 4 + i) * 4 + 2 * e), "lane " + lane);
                }
            }
        }
    }

    @Test
    void theFirstOfTwoPackedNumbersIsInTheLowerHalf() {
        ByteBuffer pairs = buffer(32 * 8);
        for (int i = 0; i < 64; i++) {
            pairs.putFloat(4 * i, i / 8f);
        }
        assertEquals(List.of(), SimulationTest.reports(stream -> {
            CUdeviceptr block = up(stream, pairs);
            stream.launch("probe_pack", 1, 1, 32, 0, at(block));
            stream.read(at(block), pairs);
            SimulationTest.free(block);
        }));
        for (int i = 0; i < 64; i++) {
            assertEquals(i / 8f, pairs.getFloat(4 * i));
        }
    }

    private static double[] eighths(Random random, int n) {
        return random.ints(n, -15, 16).mapToDouble(i -> i / 8.0).toArray();
    }

    /** Values that need no rounding. */
    private static void put(ByteBuffer out, String type, double[] values) {
        for (int i = 0; i < values.length; i++) {
            int bits = Float.floatToRawIntBits((float) values[i]);
            boolean half = type.equals("f16") && values[i] != 0;
            int exponent = Math.getExponent(values[i]) + 15;
            out.putShort(
                    2 * i, (short) (half ? bits >> 16 & 0x8000 | exponent << 10 | bits >> 13 & 0x3ff : bits >>> 16));
        }
    }

    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    private static CUdeviceptr up(Stream stream, ByteBuffer bytes) {
        CUdeviceptr block = SimulationTest.allocate(bytes.capacity());
        stream.write(at(block), bytes);
        return block;
    }

    private static long at(CUdeviceptr block) {
        return Address.of(block);
    }
}
