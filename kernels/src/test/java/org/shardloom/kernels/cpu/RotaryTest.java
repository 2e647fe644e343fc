package org.shardloom.kernels.cpu;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Two products and a sum of elements that a bias was added to: four roundings. */
@Tag("any-device")
@Tag("instruction-set")
class RotaryTest {
    private static final int TOKENS = 7, POSITIONS = 40, ROUNDINGS = 4;
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void bothKindsRotateEveryHeadByItsPosition(DType dtype) {
        for (int heads : new int[] {1, 2, 4, 8}) {
            for (int groups : new int[] {1, 2, heads}) {
                for (int headSize : new int[] {8, 16, 64, 80, 128}) {
                    for (int variant = 0; variant < 8 && heads % groups == 0; variant++) {
                        // Fully, half and not at all rotated heads.
                        int rotated = headSize * (variant % 3) / 2 / 2 * 2;
                        check(
                                new AttentionShape(heads, groups, headSize, rotated, variant % 2 == 1),
                                dtype,
                                variant / 2 % 2 == 1,
                                variant / 4 == 1);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void eachHalfOfAHeadIsRotatedByAPositionOfItsOwn(DType dtype) {
        for (int heads : new int[] {1, 2, 3, 8}) {
            for (int headSize : new int[] {8, 16, 20, 64, 128}) {
                for (AttentionShape.Layout layout : AttentionShape.Layout.values()) {
                    AttentionShape shape = new AttentionShape(
                            heads, heads, headSize, headSize, AttentionShape.Rotation.TWO_DIMENSIONAL, layout);
                    check(shape, dtype, true, false);
                    check(shape, dtype, false, true);
                }
            }
        }
    }

    private void check(AttentionShape shape, DType dtype, boolean withBias, boolean backward) {
        NativeCpu.useThreads(1 + shape.headSize() % 3);
        try (Guarded memory = new Guarded()) {
            Tensor qkv = memory.random(dtype, 3, TOKENS, shape.qkvWidth());
            Tensor bias = withBias && !backward ? memory.random(dtype, 1, shape.qkvWidth()) : null;
            Tensor table = angles(memory, shape);
            IndexTensor positions = memory.randomIndices(TOKENS * shape.dimensions(), POSITIONS);
            Bounded expected = Reference.rotary(
                    Guarded.read(qkv),
                    Guarded.read(bias),
                    Guarded.read(table),
                    Guarded.read(positions),
                    shape,
                    backward);
            if (backward) {
                ops.rotaryBackward(qkv, table, positions, shape);
            } else {
                ops.rotary(qkv, bias, table, positions, shape);
            }
            String what =
                    "%s of %s, bias %s, backward %s, seed %d".formatted(shape, dtype, withBias, backward, memory.seed);
            expected.check(what, ROUNDINGS, qkv);
        }
    }

    private static Tensor angles(Guarded memory, AttentionShape shape) {
        int pairs = shape.pairs();
        double[] table = new double[POSITIONS * pairs * 2];
        for (int i = 0; i < POSITIONS * pairs; i++) {
            double angle = i / pairs * Math.pow(10000, -(double) (i % pairs) / pairs);
            table[2 * i] = Math.cos(angle);
            table[2 * i + 1] = Math.sin(angle);
        }
        return memory.of(DType.F32, table, POSITIONS, pairs, 2);
    }

    @Test
    void theGradientAgreesWithFiniteDifferences() {
        for (boolean interleaved : new boolean[] {false, true}) {
            try (Guarded memory = new Guarded()) {
                AttentionShape shape = new AttentionShape(4, 2, 16, 8, interleaved);
                Tensor table = angles(memory, shape);
                IndexTensor positions = memory.randomIndices(TOKENS, POSITIONS);
                double[] qkv = Guarded.read(memory.random(DType.F32, 1, TOKENS, shape.qkvWidth()));
                Tensor grad = memory.random(DType.F32, 1, TOKENS, shape.qkvWidth());
                double[] gradOut = Guarded.read(grad), angles = Guarded.read(table);
                int[] at = Guarded.read(positions);
                ops.rotaryBackward(grad, table, positions, shape);
                FiniteDifferences.check(
                        "interleaved " + interleaved + ", seed " + memory.seed,
                        memory.random,
                        v -> Reference.rotary(v, null, angles, at, shape, false).values,
                        qkv,
                        gradOut,
                        grad,
                        1e-6); // two terms of at most 1
            }
        }
    }
}
