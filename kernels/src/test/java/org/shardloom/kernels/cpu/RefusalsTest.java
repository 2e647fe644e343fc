package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Operands that do not fit are refused before any memory is touched: the tensors here have no memory. */
@Tag("any-device")
class RefusalsTest {
    private static final AttentionShape SHAPE = new AttentionShape(4, 2, 8, 4, false);
    private static final Tensor QKV = f32(5, 64), CONTEXT = f32(5, 32), LOG_SUMS = f32(5, 4);
    private static final IndexTensor STARTS = indices(3);
    private final Ops ops = TestedOps.get();

    private static Tensor f32(long... shape) {
        return new Tensor(0, DType.F32, shape);
    }

    private static Tensor bf16(long... shape) {
        return new Tensor(0, DType.BF16, shape);
    }

    private static IndexTensor indices(int count) {
        return new IndexTensor(f32(count), count);
    }

    private static void refused(Executable... operations) {
        for (int i = 0; i < operations.length; i++) {
            assertThrows(IllegalArgumentException.class, operations[i], "operation " + i);
        }
    }

    @Test
    void theMessageNamesTheOperandAndBothShapes() {
        Exception refusal =
                assertThrows(IllegalArgumentException.class, () -> ops.linear(f32(5, 8), bf16(5, 7), bf16(9, 7)));
        assertEquals("y is F32[5, 8], expected F32[5, 9]", refusal.getMessage());
    }

    @Test
    void productsWhoseSidesDiffer() {
        refused(
                () -> ops.linear(f32(5, 9), f32(5, 7), f32(9, 8)),
                () -> ops.linear(f32(5, 9), f32(5, 7), bf16(9, 7)),
                () -> ops.linear(f32(6, 9), f32(5, 7), f32(9, 7)),
                () -> ops.linearBackwardInput(f32(5, 8), f32(5, 9), f32(9, 7), false),
                () -> ops.linearBackwardInput(f32(5, 7), f32(5, 9), f32(8, 7), false),
                () -> ops.linearBackwardInput(f32(5, 7), f32(5, 9), bf16(9, 7), false),
                () -> ops.linearBackwardWeight(f32(9, 8), f32(5, 9), f32(5, 7), false),
                () -> ops.linearBackwardWeight(f32(9, 7), f32(5, 9), f32(6, 7), false),
                () -> ops.linearBackwardWeight(f32(9, 7), f32(5, 9), bf16(5, 7), false));
    }

    @Test
    void rowsThatDoNotMatchTheirIndices() {
        refused(
                () -> ops.gatherRows(f32(4, 7), f32(9, 7), indices(3)),
                () -> ops.gatherRows(f32(3, 8), f32(9, 7), indices(3)),
                () -> ops.gatherRows(bf16(3, 7), f32(9, 7), indices(3)),
                () -> ops.scatterRows(f32(9, 7), f32(4, 7), indices(3)),
                () -> ops.scatterRows(f32(9, 7), bf16(3, 7), indices(3)),
                () -> ops.embeddingBackward(f32(9, 7), f32(4, 7), indices(3), indices(3)),
                () -> ops.embeddingBackward(f32(9, 7), f32(3, 8), indices(3), indices(3)),
                () -> ops.embeddingBackward(f32(9, 7), f32(3, 7), indices(3), indices(4)));
    }

    @Test
    void normsWhoseOperandsDiffer() {
        Tensor x = f32(5, 7), inverse = f32(5), weight = f32(7);
        refused(
                () -> ops.rmsNorm(f32(5, 8), inverse, null, x, null, weight, 0),
                () -> ops.rmsNorm(bf16(5, 7), inverse, null, x, null, weight, 0),
                () -> ops.rmsNorm(x, bf16(5), null, x, null, weight, 0),
                () -> ops.rmsNorm(x, f32(4), null, x, null, weight, 0),
                () -> ops.rmsNorm(x, inverse, null, x, null, f32(8), 0),
                () -> ops.rmsNorm(x, inverse, x, x, null, weight, 0),
                () -> ops.rmsNorm(x, inverse, null, x, x, weight, 0),
                () -> ops.rmsNorm(x, inverse, f32(4, 7), x, x, weight, 0),
                () -> ops.rmsNorm(x, inverse, x, x, bf16(5, 7), weight, 0),
                () -> ops.rmsNormBackward(f32(4, 7), weight, false, x, x, inverse, weight, null),
                () -> ops.rmsNormBackward(x, f32(8), false, x, x, inverse, weight, null),
                () -> ops.rmsNormBackward(x, weight, false, bf16(5, 7), x, inverse, weight, null),
                () -> ops.rmsNormBackward(x, weight, false, x, x, f32(6), weight, null),
                () -> ops.rmsNormBackward(x, weight, false, x, x, inverse, bf16(7), null),
                () -> ops.rmsNormBackward(x, weight, false, x, x, inverse, weight, f32(5, 6)));
    }

    @Test
    void rotationsOfOtherWidths() {
        Tensor table = f32(40, 2, 2);
        refused(
                () -> ops.rotary(f32(5, 63), null, table, indices(5), SHAPE),
                () -> ops.rotary(QKV, null, table, indices(4), SHAPE),
                () -> ops.rotary(QKV, f32(32), table, indices(5), SHAPE),
                () -> ops.rotary(QKV, bf16(64), table, indices(5), SHAPE),
                () -> ops.rotary(QKV, null, f32(40, 4, 2), indices(5), SHAPE),
                () -> ops.rotaryBackward(QKV, bf16(40, 2, 2), indices(5), SHAPE),
                () -> ops.rotaryBackward(f32(5, 32), table, indices(5), SHAPE));
    }

    @Test
    void attentionOverOtherShapes() {
        refused(
                () -> ops.attention(CONTEXT, LOG_SUMS, f32(5, 63), STARTS, SHAPE),
                () -> ops.attention(f32(5, 64), LOG_SUMS, QKV, STARTS, SHAPE),
                () -> ops.attention(bf16(5, 32), LOG_SUMS, QKV, STARTS, SHAPE),
                () -> ops.attention(CONTEXT, f32(5, 2), QKV, STARTS, SHAPE),
                () -> ops.attention(CONTEXT, LOG_SUMS, QKV, indices(0), SHAPE),
                () -> ops.attentionBackward(f32(5, 32), CONTEXT, CONTEXT, LOG_SUMS, QKV, STARTS, SHAPE),
                () -> ops.attentionBackward(QKV, f32(4, 32), CONTEXT, LOG_SUMS, QKV, STARTS, SHAPE),
                () -> ops.attentionBackward(QKV, CONTEXT, bf16(5, 32), LOG_SUMS, QKV, STARTS, SHAPE),
                () -> ops.attentionBackward(QKV, CONTEXT, CONTEXT, f32(5, 2), QKV, STARTS, SHAPE),
                () -> ops.attentionBackward(QKV, CONTEXT, CONTEXT, bf16(5, 4), QKV, STARTS, SHAPE),
                () -> ops.attentionBackward(QKV, CONTEXT, CONTEXT, LOG_SUMS, QKV, indices(0), SHAPE),
                () -> new AttentionShape(4, 3, 8, 8, false),
                () -> new AttentionShape(4, 2, 8, 10, false),
                () -> new AttentionShape(4, 2, 8, 3, false));
    }

    @Test
    void cachesOfOtherShapes() {
        Tensor cache = f32(20, 32);
        IndexTensor two = indices(2);
        refused(
                () -> ops.attentionWithCache(CONTEXT, cache, f32(5, 63), STARTS, two, two, SHAPE),
                () -> ops.attentionWithCache(f32(5, 64), cache, QKV, STARTS, two, two, SHAPE),
                () -> ops.attentionWithCache(CONTEXT, f32(20, 64), QKV, STARTS, two, two, SHAPE),
                () -> ops.attentionWithCache(CONTEXT, bf16(20, 32), QKV, STARTS, two, two, SHAPE),
                () -> ops.attentionWithCache(CONTEXT, cache, QKV, indices(0), indices(0), indices(0), SHAPE),
                () -> ops.attentionWithCache(CONTEXT, cache, QKV, STARTS, indices(3), two, SHAPE),
                () -> ops.attentionWithCache(CONTEXT, cache, QKV, STARTS, two, indices(1), SHAPE));
    }

    @Test
    void elementwiseOperandsThatDiffer() {
        refused(
                () -> ops.swiglu(f32(5, 7), f32(5, 13), null),
                () -> ops.swiglu(f32(5, 7), bf16(5, 14), null),
                () -> ops.swiglu(f32(5, 7), f32(5, 14), f32(7)),
                () -> ops.swigluBackward(f32(5, 7), f32(5, 7), f32(5, 14), null),
                () -> ops.swigluBackward(f32(5, 14), f32(4, 7), f32(5, 14), null),
                () -> ops.gelu(f32(5, 7), f32(5, 7), f32(5)),
                () -> ops.geluBackward(f32(5, 7), f32(5, 7), f32(5, 7), bf16(7)),
                () -> ops.columnSum(f32(6), f32(5, 7), false),
                () -> ops.softmaxCrossEntropy(f32(4), null, f32(5, 7), indices(5), 1),
                () -> ops.softmaxCrossEntropy(f32(5), null, bf16(5, 7), indices(5), 1),
                () -> ops.softmaxCrossEntropy(f32(5), f32(5, 6), f32(5, 7), indices(5), 1),
                () -> ops.softmaxCrossEntropy(f32(5), null, f32(5, 7), indices(4), 1),
                () -> ops.convert(f32(5), bf16(6)),
                () -> ops.add(f32(5), f32(5), f32(6)),
                () -> ops.add(f32(5), f32(5), bf16(5)));
    }

    @Test
    void aTensorWithoutRowsKeepsItsWidth() {
        assertEquals(7, f32(5, 7).slice(2, 0).columns());
        ops.linear(f32(0, 9), f32(0, 7), f32(9, 7));
        ops.swiglu(f32(0, 7), f32(0, 14), f32(14));
    }
}
