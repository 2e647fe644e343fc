package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Whole sequences go through the reference; the operation gets their last tokens, and the keys and values of the others in its
 * cache, whose other rows are NaN. Error bounds are those of {@link AttentionTest}.
 */
@Tag("any-device")
@Tag("instruction-set")
class AttentionWithCacheTest {
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "2, 1", "2, 2", "4, 2", "8, 1", "8, 2", "8, 8"})
    void newTokensAttendToThemselvesAndToTheirOwnPast(int heads, int groups) {
        int[] headSizes = {8, 16, 64, 80, 128};
        int variant = heads + groups;
        for (int headSize : headSizes) {
            AttentionShape shape = new AttentionShape(heads, groups, headSize, 0, false);
            DType dtype = DType.values()[variant % 3];
            NativeCpu.useThreads(1 + variant++ / 3 % 3);
            check(shape, dtype, new int[] {0, 5, 1, 33, 0, 16, 64}, new int[] {3, 1, 2, 1, 1, 17, 0});
        }
    }

    @ParameterizedTest
    @EnumSource
    void longPastsAndSeveralQueryBlocks(DType dtype) {
        check(new AttentionShape(2, 1, 16, 0, false), dtype, new int[] {257, 300, 0}, new int[] {1, 130, 70});
        // Eight heads of a group share a block: it is the smallest at this length.
        check(new AttentionShape(8, 1, 8, 0, false), dtype, new int[] {600}, new int[] {20});
    }

    private void check(AttentionShape shape, DType dtype, int[] past, int[] fresh) {
        int sequences = past.length, width = (int) shape.qkvWidth(), cacheWidth = (int) shape.cacheWidth();
        int[] whole = new int[sequences + 1], starts = new int[sequences + 1], rows = new int[sequences];
        for (int s = 0; s < sequences; s++) {
            whole[s + 1] = whole[s] + past[s] + fresh[s];
            starts[s + 1] = starts[s] + fresh[s];
            // The last sequence first, with a row between.
            rows[s] = Arrays.stream(past, s + 1, sequences).sum()
                    + Arrays.stream(fresh, s + 1, sequences).sum()
                    + sequences
                    - s;
        }
        int cacheRows = rows[0] + past[0] + fresh[0] + 1;
        try (Guarded memory = new Guarded()) {
            double[] all = Guarded.read(memory.random(dtype, 1, whole[sequences], width));
            AttentionReference reference = new AttentionReference(shape, whole, all);
            double[] newRows = new double[starts[sequences] * width];
            double[] before = new double[cacheRows * cacheWidth], after;
            Bounded expected = new Bounded(starts[sequences] * (int) shape.contextWidth());
            Arrays.fill(before, Double.NaN);
            after = before.clone();
            for (int s = 0; s < sequences; s++) {
                for (int t = 0; t < past[s] + fresh[s]; t++) {
                    int from = (whole[s] + t) * width, to = (rows[s] + t) * cacheWidth;
                    System.arraycopy(all, from + width - cacheWidth, after, to, cacheWidth);
                    if (t < past[s]) {
                        System.arraycopy(all, from + width - cacheWidth, before, to, cacheWidth);
                    } else {
                        int row = starts[s] + t - past[s], out = (int) shape.contextWidth();
                        System.arraycopy(all, from, newRows, row * width, width);
                        System.arraycopy(
                                reference.context.values, (whole[s] + t) * out, expected.values, row * out, out);
                        System.arraycopy(
                                reference.context.magnitudes,
                                (whole[s] + t) * out,
                                expected.magnitudes,
                                row * out,
                                out);
                    }
                }
            }
            Tensor qkv = memory.of(dtype, newRows, starts[sequences], width);
            Tensor cache = memory.of(dtype, before, cacheRows, cacheWidth);
            Tensor context = memory.empty(dtype, starts[sequences], shape.contextWidth());
            ops.attentionWithCache(
                    context, cache, qkv, memory.indices(starts), memory.indices(rows), memory.indices(past), shape);
            String what = "%s, %s, past %s, new %s, seed %d"
                    .formatted(shape, dtype, Arrays.toString(past), Arrays.toString(fresh), memory.seed);
            int longest = whole[sequences];
            double scoreRoundings = 2 * (shape.headSize() + 4) * reference.scoreMagnitude + 8;
            expected.check(
                    "context of " + what,
                    scoreRoundings + 2 * longest + 8 + AttentionTest.operandRoundings(dtype, shape.headSize()),
                    Numbers.tiny(dtype) * longest,
                    context);
            assertArrayEquals(after, Guarded.read(cache), what);
        }
    }

    @Test
    void tokensOneByOneGiveTheSameBitsAsAllTogether() {
        AttentionShape shape = new AttentionShape(4, 2, 16, 0, false);
        try (Guarded memory = new Guarded()) {
            int tokens = 70;
            Tensor qkv = memory.random(DType.F32, 1, tokens, shape.qkvWidth());
            Tensor together = memory.empty(DType.F32, tokens, shape.contextWidth());
            Tensor logSums = memory.empty(DType.F32, tokens, shape.heads());
            ops.attention(together, logSums, qkv, memory.indices(0, tokens), shape);
            Tensor cache = memory.empty(DType.F32, tokens, shape.cacheWidth());
            Tensor oneByOne = memory.empty(DType.F32, tokens, shape.contextWidth());
            for (int t = 0; t < tokens; t++) {
                ops.attentionWithCache(
                        oneByOne.slice(t, 1),
                        cache,
                        qkv.slice(t, 1),
                        memory.indices(0, 1),
                        memory.indices(0),
                        memory.indices(t),
                        shape);
            }
            assertArrayEquals(Guarded.read(together), Guarded.read(oneByOne), "seed " + memory.seed);
        }
    }

    @Test
    void aContextThenTokensOneByOneGiveTheSameBitsAsAllTogether() {
        int heads = 4;
        AttentionShape shape = new AttentionShape(
                heads, heads, 16, 16, AttentionShape.Rotation.TWO_DIMENSIONAL, AttentionShape.Layout.BY_HEAD);
        try (Guarded memory = new Guarded()) {
            int tokens = 60, context = 41;
            Tensor qkv = memory.random(DType.F32, 1, tokens, shape.qkvWidth());
            Tensor together = memory.empty(DType.F32, tokens, shape.contextWidth());
            Tensor logSums = memory.empty(DType.F32, tokens, heads);
            ops.attention(together, logSums, qkv, memory.indices(0, tokens), memory.indices(context), shape);
            Tensor cache = memory.empty(DType.F32, tokens, shape.cacheWidth());
            Tensor inTurn = memory.empty(DType.F32, tokens, shape.contextWidth());
            for (int t = 0; t < tokens; t = t == 0 ? context + 1 : t + 1) {
                int count = t == 0 ? context + 1 : 1;
                ops.attentionWithCache(
                        inTurn.slice(t, count),
                        cache,
                        qkv.slice(t, count),
                        memory.indices(0, count),
                        memory.indices(context),
                        memory.indices(0),
                        memory.indices(t),
                        shape);
            }
            assertArrayEquals(Guarded.read(together), Guarded.read(inTurn), "seed " + memory.seed);
        }
    }
}
