package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The same numbers however many threads compute them. */
@Tag("instruction-set")
class ThreadsTest {
    private static final int TOKENS = 130, HIDDEN = 64;
    private final CpuOps ops = new CpuOps();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void oneTwoAndThreeThreadsGiveTheSameBits(DType dtype) {
        try (Guarded memory = new Guarded()) {
            Inputs inputs = new Inputs(memory, dtype);
            NativeCpu.useThreads(1);
            Map<String, Tensor> alone = inputs.run(ops);
            for (int threads = 2; threads <= 3; threads++) {
                NativeCpu.useThreads(threads);
                int count = threads;
                inputs.run(ops)
                        .forEach((name, tensor) -> assertArrayEquals(
                                Guarded.bytes(alone.get(name)),
                                Guarded.bytes(tensor),
                                name + " of " + dtype + ", " + count + " threads, seed " + memory.seed));
            }
        }
    }

    /** Libraries divide long sums of few elements among threads; then bits depend on how many there are. */
    @ParameterizedTest
    @EnumSource
    void longSumsGiveTheSameBitsOnAnyNumberOfThreads(DType dtype) {
        for (int length : new int[] {2048, 2500}) {
            try (Guarded memory = new Guarded()) {
                Tensor gradY = memory.random(dtype, 1, length, 32), x = memory.random(dtype, 1, length, 40);
                Tensor wide = memory.random(dtype, 1, 64, length), weight = memory.random(dtype, 1, 64, length);
                byte[] gradWeight = null, y = null;
                for (int threads : new int[] {1, 2, 3, 8}) {
                    NativeCpu.useThreads(threads);
                    Tensor sums = memory.empty(DType.F32, 32, 40), products = memory.empty(DType.F32, 64, 64);
                    ops.linearBackwardWeight(sums, gradY, x, false);
                    ops.linear(products, wide, weight);
                    String what = length + " terms of " + dtype + ", " + threads + " threads, seed " + memory.seed;
                    gradWeight = gradWeight == null ? Guarded.bytes(sums) : gradWeight;
                    y = y == null ? Guarded.bytes(products) : y;
                    assertArrayEquals(gradWeight, Guarded.bytes(sums), what);
                    assertArrayEquals(y, Guarded.bytes(products), what);
                }
            }
        }
    }

    /** Several blocks and pieces of the tile unit's code, with and without sums that are kept between blocks of terms. */
    @Test
    void productsOfManyBlocksGiveTheSameBitsOnAnyNumberOfThreads() {
        int[][] shapes = {{40, 1300, 4200}, {600, 700, 600}, {1100, 1100, 40}, {530, 1030, 4200}};
        for (int[] s : shapes) {
            try (Guarded memory = new Guarded()) {
                Tensor x = memory.random(DType.BF16, 1, s[0], s[2]), weight = memory.random(DType.BF16, 1, s[1], s[2]);
                byte[] alone = null;
                for (int threads : new int[] {1, 2, 3, 8}) {
                    NativeCpu.useThreads(threads);
                    Tensor y = memory.empty(DType.F32, s[0], s[1]);
                    ops.linear(y, x, weight);
                    alone = alone == null ? Guarded.bytes(y) : alone;
                    assertArrayEquals(alone, Guarded.bytes(y), y + ", " + threads + " threads, seed " + memory.seed);
                }
            }
        }
    }

    @Test
    void javaThreadsWithTheirOwnOpenMpThreadsDoNotDisturbEachOther() {
        try (Guarded memory = new Guarded()) {
            Inputs inputs = new Inputs(memory, DType.BF16);
            NativeCpu.useThreads(1);
            Map<String, Tensor> alone = inputs.run(ops);
            CompletableFuture<?>[] workers = IntStream.range(0, 3)
                    .mapToObj(worker -> CompletableFuture.runAsync(
                            () -> {
                                try (Guarded own = new Guarded()) {
                                    NativeCpu.useThreads(1 + worker);
                                    for (int i = 0; i < 3; i++) {
                                        inputs.in(own)
                                                .run(ops)
                                                .forEach((name, tensor) -> assertArrayEquals(
                                                        Guarded.bytes(alone.get(name)), Guarded.bytes(tensor), name));
                                    }
                                }
                            },
                            task -> new Thread(task).start()))
                    .toArray(CompletableFuture<?>[]::new);
            CompletableFuture.allOf(workers).join();
        }
    }

    /** Operands of all operations, shared by the runs; outputs are fresh in each. */
    private static final class Inputs {
        private final AttentionShape shape = new AttentionShape(4, 2, 16, 16, false);
        private final Guarded memory;
        private final DType dtype;
        private final Tensor x, weight, y, norm, gateUp, qkv, logits, bias;
        private final IndexTensor starts, ids, sorted;

        Inputs(Guarded memory, DType dtype) {
            this.memory = memory;
            this.dtype = dtype;
            x = memory.random(dtype, 1, TOKENS, HIDDEN);
            weight = memory.random(dtype, 1, 96, HIDDEN);
            y = memory.random(dtype, 1, TOKENS, 96);
            norm = memory.random(dtype, 1, HIDDEN);
            gateUp = memory.random(dtype, 1, TOKENS, 2 * HIDDEN);
            qkv = memory.random(dtype, 1, TOKENS, shape.qkvWidth());
            bias = memory.random(dtype, 1, shape.qkvWidth());
            logits = memory.random(DType.F32, 5, TOKENS, 257);
            starts = memory.indices(0, 1, 40, 113, TOKENS);
            ids = memory.indices(IntStream.range(0, TOKENS).map(i -> i / 50).toArray());
            sorted = memory.indices(IntStream.range(0, TOKENS).toArray());
        }

        private Inputs(Guarded memory, Inputs from) {
            this.memory = memory;
            dtype = from.dtype;
            x = from.x;
            weight = from.weight;
            y = from.y;
            norm = from.norm;
            gateUp = from.gateUp;
            qkv = from.qkv;
            bias = from.bias;
            logits = from.logits;
            starts = from.starts;
            ids = from.ids;
            sorted = from.sorted;
        }

        /** The same operands, with outputs in other memory. */
        Inputs in(Guarded other) {
            return new Inputs(other, this);
        }

        private Tensor out(Map<String, Tensor> outputs, String name, DType type, long... shape) {
            Tensor tensor = memory.empty(type, shape);
            outputs.put(name, tensor);
            return tensor;
        }

        Map<String, Tensor> run(CpuOps ops) {
            Map<String, Tensor> out = new LinkedHashMap<>();
            ops.linear(out(out, "y", dtype, TOKENS, 96), x, weight);
            ops.linearBackwardInput(out(out, "gradX", dtype, TOKENS, HIDDEN), y, weight, false);
            ops.linearBackwardWeight(out(out, "gradWeight", DType.F32, 96, HIDDEN), y, x, false);
            Tensor inverse = out(out, "inverse", DType.F32, TOKENS);
            ops.rmsNorm(out(out, "norm", dtype, TOKENS, HIDDEN), inverse, null, x, null, norm, 1e-5f);
            Tensor gradNorm = out(out, "gradNorm", dtype, TOKENS, HIDDEN);
            ops.rmsNormBackward(gradNorm, null, false, x, x, inverse, norm, null);
            Tensor rotated = out(out, "rotated", dtype, TOKENS, shape.qkvWidth());
            ops.convert(rotated, qkv);
            Tensor table = memory.of(DType.F32, new double[TOKENS * 16], TOKENS, 8, 2);
            ops.rotary(rotated, bias, table, sorted, shape);
            Tensor context = out(out, "context", dtype, TOKENS, shape.contextWidth());
            Tensor logSums = out(out, "logSums", DType.F32, TOKENS, 4);
            ops.attention(context, logSums, qkv, starts, shape);
            Tensor gradQkv = out(out, "gradQkv", dtype, TOKENS, shape.qkvWidth());
            ops.attentionBackward(gradQkv, x, context, logSums, qkv, starts, shape);
            ops.swiglu(out(out, "swiglu", dtype, TOKENS, HIDDEN), gateUp, null);
            ops.swigluBackward(out(out, "gradGateUp", dtype, TOKENS, 2 * HIDDEN), x, gateUp, null);
            ops.gelu(out(out, "gelu", dtype, TOKENS, HIDDEN), x, norm);
            ops.geluBackward(out(out, "gradGelu", dtype, TOKENS, HIDDEN), x, x, norm);
            ops.columnSum(out(out, "columnSum", DType.F32, 257), logits, false);
            Tensor losses = out(out, "losses", DType.F32, TOKENS);
            ops.softmaxCrossEntropy(losses, out(out, "gradLogits", dtype, TOKENS, 257), logits, ids, 1);
            Tensor embedding = out(out, "embedding", DType.F32, 3, HIDDEN);
            ops.zero(embedding);
            ops.embeddingBackward(embedding, x, ids, sorted);
            return out;
        }
    }
}
