package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Rows by index: gathering, scattering, and the gradient of the embedding. */
@Tag("any-device")
@Tag("instruction-set")
class RowsTest {
    private static final int[] WIDTHS = {1, 2, 3, 7, 17, 33, 65, 257};
    private final Ops ops = TestedOps.get();

    @AfterEach
    void threadsAsUsual() {
        NativeCpu.useThreads(2);
    }

    @ParameterizedTest
    @EnumSource
    void rowsAreGatheredAndScatteredUnchanged(DType dtype) {
        for (int n : WIDTHS) {
            NativeCpu.useThreads(1 + n % 3);
            try (Guarded memory = new Guarded()) {
                int[] ids = memory.random.ints(0, 31).distinct().limit(17).toArray();
                Tensor table = memory.random(dtype, 1, 31, n), out = memory.empty(dtype, 17, n);
                ops.gatherRows(out, table, memory.indices(ids));
                Tensor target = memory.random(dtype, 1, 31, n);
                double[] from = Guarded.read(table), found = Guarded.read(out), expected = Guarded.read(target);
                ops.scatterRows(target, out, memory.indices(ids));
                for (int i = 0; i < 17; i++) {
                    System.arraycopy(from, ids[i] * n, expected, ids[i] * n, n);
                    assertArrayEquals(
                            Arrays.copyOfRange(from, ids[i] * n, ids[i] * n + n),
                            Arrays.copyOfRange(found, i * n, i * n + n),
                            "row " + i + ", seed " + memory.seed);
                }
                assertArrayEquals(expected, Guarded.read(target), "seed " + memory.seed);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void theEmbeddingGradientIsTheSameWithAnyNumberOfThreads(DType dtype) {
        for (int n : WIDTHS) {
            for (DType gradType : DType.values()) {
                try (Guarded memory = new Guarded()) {
                    // Few ids make runs that are longer than a thread's share; one id makes a single run.
                    int tokens = memory.random.nextInt(60), ids = 1 + memory.random.nextInt(tokens / 4 + 2);
                    embedding(
                            memory,
                            dtype,
                            gradType,
                            memory.random.ints(tokens, 0, ids).toArray(),
                            ids,
                            n);
                }
            }
        }
    }

    private void embedding(Guarded memory, DType dtype, DType gradType, int[] ids, int bound, int n) {
        IndexTensor tokens = memory.indices(ids);
        IndexTensor order = memory.indices(IntStream.range(0, ids.length)
                .boxed()
                .sorted(Comparator.comparingInt(t -> ids[t]))
                .mapToInt(t -> t)
                .toArray());
        Tensor gradOut = memory.random(dtype, 1, ids.length, n), start = memory.random(gradType, 1, bound, n);
        double[] starts = Guarded.read(start), grads = Guarded.read(gradOut);
        Bounded expected = new Bounded(bound * n);
        for (int i = 0; i < bound * n; i++) {
            expected.add(i, starts[i]);
        }
        for (int i = 0; i < grads.length; i++) {
            expected.add(ids[i / n] * n + i % n, grads[i]);
        }
        byte[] first = null;
        for (int threads = 1; threads <= 3; threads++) {
            NativeCpu.useThreads(threads);
            Tensor grad = memory.of(gradType, starts, bound, n);
            ops.embeddingBackward(grad, gradOut, tokens, order);
            String what = "%d ids of %d, %s onto %s, %d threads, seed %d"
                    .formatted(ids.length, bound, gradOut, gradType, threads, memory.seed);
            expected.check(what, ids.length + 1, grad);
            first = first == null ? Guarded.bytes(grad) : first;
            assertArrayEquals(first, Guarded.bytes(grad), what);
        }
    }
}
