package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionTiles;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Attention on simulated tensor cores beside the kernels that use none, in memory of the device with red zones around every block. */
class FlashAttentionTest {
    /** Prefix rows of P-Tuning v2 are rows at the beginning of a sequence that all of it sees. */
    private static final int PREFIX = 9;

    private static final int[] LENGTHS = {1, PREFIX + 70, 0, 64, PREFIX + 33};

    @ParameterizedTest
    @CsvSource({"BF16, 64, 4, 1", "F16, 128, 2, 2", "BF16, 128, 4, 2", "F16, 64, 2, 1"})
    void bothPathsAgreeAndEveryRunGivesTheSameBits(DType dtype, int headSize, int heads, int groups) {
        AttentionShape shape = new AttentionShape(heads, groups, headSize, 0, false);
        // One rounding of a probability, and one of a result, of values up to some times the largest gradient.
        float tolerance = dtype == DType.BF16 ? 4e-2f : 5e-3f;
        for (int[] contexts : new int[][] {null, {0, PREFIX + 5, 0, 50, PREFIX}}) {
            List<float[]> simple = run(shape, dtype, contexts, 1, false), first = run(shape, dtype, contexts, 1, true);
            for (int i = 0; i < simple.size(); i++) {
                assertArrayEquals(simple.get(i), first.get(i), tolerance, "output " + i);
            }
            List<float[]> again = run(shape, dtype, contexts, 2, true);
            for (int i = 0; i < first.size(); i++) {
                assertArrayEquals(first.get(i), again.get(i), "output " + i);
            }
        }
    }

    /** Context, log-sums and the gradients of queries, keys and values. */
    private static List<float[]> run(AttentionShape shape, DType dtype, int[] contexts, int seed, boolean tensorCores) {
        SimulatedDriver.start(1, 1 << 26, seed, 100);
        List<float[]> results = new ArrayList<>();
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            ((CudaOps) device.ops()).useTensorCores(tensorCores);
            int[] starts = new int[LENGTHS.length + 1];
            for (int s = 0; s < LENGTHS.length; s++) {
                starts[s + 1] = starts[s] + LENGTHS[s];
            }
            int tokens = starts[LENGTHS.length];
            Random random = new Random(7);
            Ops ops = device.ops();
            Tensor qkv = random(device, memory, random, dtype, tokens, shape.qkvWidth());
            Tensor gradContext = random(device, memory, random, dtype, tokens, shape.contextWidth());
            IndexTensor first = Inputs.indices(device, memory, starts);
            IndexTensor seen = contexts == null ? null : Inputs.indices(device, memory, contexts);
            Tensor context = memory.allocate(dtype, tokens, shape.contextWidth());
            Tensor logSums = memory.allocate(DType.F32, tokens, shape.heads());
            Tensor grad = memory.allocate(dtype, tokens, shape.qkvWidth());
            ops.attention(context, logSums, qkv, first, seen, shape);
            ops.attentionBackward(grad, gradContext, context, logSums, qkv, first, seen, shape);
            for (Tensor tensor : new Tensor[] {context, logSums, grad}) {
                Tensor wide = memory.allocate(DType.F32, tensor.shape());
                ops.convert(wide, tensor);
                results.add(Inputs.toFloats(device, wide));
            }
        }
        assertEquals(List.of(), SimulatedDriver.reports());
        return results;
    }

    private static Tensor random(
            CudaDevice device, Memory memory, Random random, DType dtype, long rows, long columns) {
        float[] values = new float[(int) (rows * columns)];
        for (int i = 0; i < values.length; i++) {
            values[i] = 2 * random.nextFloat() - 1;
        }
        Tensor out = memory.allocate(dtype, rows, columns);
        device.ops().convert(out, Inputs.floats(device, memory, values, rows, columns));
        return out;
    }

    @Test
    void otherHeadsOtherDtypesAndAddressesThatAreNotAlignedGoTheSimpleWay() {
        AttentionShape shape = new AttentionShape(1, 1, 64, 0, false);
        Tensor aligned = new Tensor(256, DType.BF16, 1, 192);
        assertTrue(AttentionTiles.onTensorCores(shape, aligned, null, new Tensor(512, DType.BF16, 1, 64)));
        assertFalse(AttentionTiles.onTensorCores(shape, aligned, new Tensor(514, DType.BF16, 1, 64)));
        assertFalse(AttentionTiles.onTensorCores(shape, new Tensor(256, DType.F32, 1, 192)));
        assertFalse(AttentionTiles.onTensorCores(new AttentionShape(1, 1, 80, 0, false), aligned));
    }

    @Test
    void headsOfAGroupAreSharedOutWhereThereAreFewBlocks() {
        AttentionShape grouped = new AttentionShape(32, 2, 128, 0, false);
        assertEquals(4, AttentionTiles.parts(25, grouped));
        assertEquals(16, AttentionTiles.parts(1, grouped));
        assertEquals(1, AttentionTiles.parts(128, grouped));
        assertEquals(1, AttentionTiles.parts(1, new AttentionShape(32, 32, 128, 0, false)));
        assertEquals(6, AttentionTiles.parts(40, new AttentionShape(6, 1, 64, 0, false)));
        assertEquals(2, AttentionTiles.parts(96, new AttentionShape(6, 1, 64, 0, false)));
        assertEquals(3, AttentionTiles.parts(80, new AttentionShape(9, 1, 64, 0, false)));
    }

    @Test
    void everyTileOfEverySequenceHasABlock() {
        for (int[] lengths : new int[][] {{}, {0, 0}, {1}, {64}, {65, 1, 1}, {1, 1, 1, 1}, {63, 0, 129}}) {
            long tokens = 0, tiles = 0;
            for (int length : lengths) {
                tokens += length;
                tiles += (length + AttentionTiles.ROWS - 1) / AttentionTiles.ROWS;
            }
            assertTrue(AttentionTiles.tiles(tokens, lengths.length) >= tiles);
        }
        assertEquals(25, AttentionTiles.tiles(1560, 1));
    }
}
