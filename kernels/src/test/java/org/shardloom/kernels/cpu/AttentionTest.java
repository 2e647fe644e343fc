package org.shardloom.kernels.cpu;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A score is a sum of d terms whose error, (d + 4) roundings of their magnitude, becomes a relative error of its
 * probability; it enters through the score and through the log-sum, and sums over keys or queries follow. On AMX and on tensor cores,
 * probabilities and their gradients are rounded to 16 bits before they are multiplied.
 */
@Tag("any-device")
@Tag("instruction-set")
class AttentionTest {
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "2, 1", "2, 2", "4, 1", "4, 2", "4, 4", "8, 1", "8, 2", "8, 8"})
    void packedSequencesOfAnyLengthAttendWithinThemselves(int heads, int groups) {
        int[] headSizes = {8, 16, 64, 80, 128};
        int variant = heads + groups;
        for (int headSize : headSizes) {
            AttentionShape shape = new AttentionShape(heads, groups, headSize, 0, false);
            DType dtype = DType.values()[variant % 3];
            NativeCpu.useThreads(1 + variant++ / 3 % 3);
            check(shape, dtype, 1, 1, 2, 1, 17, 3, 0, 33, 7);
        }
    }

    @ParameterizedTest
    @EnumSource
    void sequencesOfSeveralQueryBlocksAttendToAllThatCameBefore(DType dtype) {
        check(new AttentionShape(2, 1, 16, 0, false), dtype, 1, 63, 65, 129, 1, 257);
        // Eight heads of a group share a block: it is the smallest at this length.
        check(new AttentionShape(8, 1, 8, 0, false), dtype, 1, 600);
    }

    @ParameterizedTest
    @EnumSource
    void tokensOfAContextSeeEachOtherBothWays(DType dtype) {
        for (AttentionShape.Layout layout : AttentionShape.Layout.values()) {
            AttentionShape.Rotation rotation = AttentionShape.Rotation.TWO_DIMENSIONAL;
            for (int heads : new int[] {1, 3, 4}) {
                AttentionShape shape = new AttentionShape(heads, heads, 16, 16, rotation, layout);
                check(shape, dtype, 1, new int[] {0, 1, 1, 9, 2, 40, 70}, 1, 1, 2, 17, 33, 40, 131);
                check(shape, dtype, 1, new int[] {600}, 600);
            }
        }
        check(new AttentionShape(4, 2, 8, 0, false), dtype, 1, new int[] {5, 100}, 9, 128);
    }

    @ParameterizedTest
    @EnumSource
    void largeScoresAndEqualScoresAreSafe(DType dtype) {
        AttentionShape shape = new AttentionShape(2, 2, 64, 0, false);
        check(shape, dtype, 8, 1, 31, 65); // scores reach beyond 80
        check(shape, dtype, 0, 1, 31, 65);
        check(shape, dtype, 1e-4, 17);
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "F16"})
    void headsForTensorCoresAttendOverSeveralTiles(DType dtype) {
        int[] lengths = {1, 63, 65, 128, 0, 150, 64};
        AttentionShape.Rotation rotation = AttentionShape.Rotation.TWO_DIMENSIONAL;
        for (int headSize : new int[] {64, 128}) {
            check(new AttentionShape(4, 2, headSize, 0, false), dtype, 1, lengths);
            // The context ends in a tile's first, middle and last row, in another tile than the query, and with the
            // sequence.
            int[] contexts = {1, 0, 65, 63, 0, 70, 5};
            AttentionShape.Layout layout = AttentionShape.Layout.BY_HEAD;
            check(new AttentionShape(2, 2, headSize, headSize, rotation, layout), dtype, 1, contexts, lengths);
            check(new AttentionShape(3, 1, headSize, 0, false), dtype, 1, new int[] {129, 200}, 140, 200);
            check(new AttentionShape(2, 1, headSize, 0, false), dtype, 6, 100);
        }
    }

    /**
     * Where probabilities are rounded to 16 bits before they are multiplied: as many roundings to fp32 as one of those is. On AMX that is
     * so in bf16, on tensor cores for the heads that go there.
     */
    static double operandRoundings(DType dtype, int headSize) {
        boolean rounded = TestedOps.onCuda()
                ? dtype != DType.F32 && (headSize == 64 || headSize == 128)
                : dtype == DType.BF16 && NativeCpu.instructionSet() == 3;
        return rounded ? Numbers.roundoff(dtype) / Numbers.roundoff(DType.F32) : 0;
    }

    private void check(AttentionShape shape, DType dtype, double range, int... lengths) {
        check(shape, dtype, range, null, lengths);
    }

    private void check(AttentionShape shape, DType dtype, double range, int[] contexts, int... lengths) {
        int[] starts = new int[lengths.length + 1];
        int longest = 0;
        for (int s = 0; s < lengths.length; s++) {
            starts[s + 1] = starts[s] + lengths[s];
            longest = Math.max(longest, lengths[s]);
        }
        int tokens = starts[lengths.length];
        try (Guarded memory = new Guarded()) {
            IndexTensor first = memory.indices(starts);
            IndexTensor seen = contexts == null ? null : memory.indices(contexts);
            Tensor qkv = memory.random(dtype, range, tokens, shape.qkvWidth());
            Tensor context = memory.empty(dtype, tokens, shape.contextWidth());
            Tensor logSums = memory.empty(DType.F32, tokens, shape.heads());
            String what = "%s, %s, range %s, longest %d, seed %d".formatted(shape, dtype, range, longest, memory.seed);
            AttentionReference reference = new AttentionReference(shape, starts, contexts, Guarded.read(qkv));
            double scoreRoundings = 2 * (shape.headSize() + 4) * reference.scoreMagnitude + 8;
            ops.attention(context, logSums, qkv, first, seen, shape);
            double operands = operandRoundings(dtype, shape.headSize());
            // What becomes of the smallest probabilities, once for each term of a sum.
            double lost = operands == 0
                    ? 0
                    : Numbers.tiny(dtype) * longest * shape.heads() / shape.groups() * Math.max(1, range);
            reference.context.check("context of " + what, scoreRoundings + 2 * longest + 8 + operands, lost, context);
            reference.logSums.check("log-sums of " + what, shape.headSize() + longest + 8, logSums);

            Tensor gradContext = memory.random(dtype, 1, tokens, shape.contextWidth());
            Tensor grad = memory.empty(dtype, tokens, shape.qkvWidth());
            ops.attentionBackward(grad, gradContext, context, logSums, qkv, first, seen, shape);
            int sums = 2 * longest * shape.heads() / shape.groups() + 2 * shape.headSize() + 16;
            reference
                    .backward(Guarded.read(gradContext), Guarded.read(context))
                    .check("gradient of " + what, scoreRoundings + sums + operands, lost, grad);
        }
    }

    @Test
    void theGradientAgreesWithFiniteDifferences() {
        for (int groups : new int[] {1, 2, 4}) {
            try (Guarded memory = new Guarded()) {
                AttentionShape shape = new AttentionShape(4, groups, 16, 0, false);
                int[] starts = {0, 1, 8, 19};
                IndexTensor first = memory.indices(starts);
                Tensor qkv = memory.random(DType.F32, 1, 19, shape.qkvWidth());
                Tensor context = memory.empty(DType.F32, 19, shape.contextWidth());
                Tensor logSums = memory.empty(DType.F32, 19, shape.heads());
                Tensor gradContext = memory.random(DType.F32, 1, 19, shape.contextWidth());
                Tensor grad = memory.empty(DType.F32, 19, shape.qkvWidth());
                ops.attention(context, logSums, qkv, first, shape);
                ops.attentionBackward(grad, gradContext, context, logSums, qkv, first, shape);
                FiniteDifferences.check(
                        shape + ", seed " + memory.seed,
                        memory.random,
                        v -> new AttentionReference(shape, starts, v).context.values,
                        Guarded.read(qkv),
                        Guarded.read(gradContext),
                        grad,
                        3e-5); // sums of some hundred terms of at most 1
            }
        }
    }
}
