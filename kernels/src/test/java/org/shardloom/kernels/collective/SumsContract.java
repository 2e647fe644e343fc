package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** How every transport must add: to the last bit one rank after the other, in rank order. */
abstract class SumsContract extends GroupContract {

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void reduceScatterSumsInRankOrder(int size) {
        inGroup(size, (group, memory) -> {
            for (DType dtype : DType.values()) {
                for (boolean shared : places(group.rank())) {
                    for (int n : LENGTHS) {
                        for (int absent = -1; absent <= size; absent++) {
                            scatter(group, memory, shared, dtype, n, absent);
                        }
                    }
                }
            }
            scatter(group, memory, false, DType.F32, large(size), -1);
            scatter(group, memory, false, DType.BF16, large(size), 0);
            scatter(group, memory, true, DType.F32, large(size) / 3, -1);
        });
    }

    /** Without the contribution of one rank; of any when absent is the group's size. */
    private static void scatter(Collectives group, Operands memory, boolean shared, DType dtype, int n, int absent) {
        int rank = group.rank();
        int size = group.size();
        Tensor operand = memory.fill(place(group, memory, shared, dtype, (long) size * n), rank, 0);
        Tensor full = absent == rank || absent == size ? null : operand;
        Tensor sum = memory.fill(memory.allocate(DType.F32, n), 77, 0);
        group.reduceScatter(sum, full, dtype, false).await();
        memory.check("sum without " + absent, sum, i -> total(dtype, size, (long) rank * n + i, absent));
        memory.fill(sum, 77, 0);
        group.reduceScatter(sum, full, dtype, true).await();
        memory.check(
                "added sum without " + absent,
                sum,
                i -> absent == size
                        ? Pattern.value(77, i, DType.F32)
                        : total(Pattern.value(77, i, DType.F32), dtype, size, (long) rank * n + i, absent));
    }

    static float total(DType dtype, int size, long i, int absent) {
        return total(0, dtype, size, i, absent);
    }

    /** One rank after the other onto what is there. */
    private static float total(float start, DType dtype, int size, long i, int absent) {
        float total = start;
        for (int r = 0; r < size && absent != size; r++) {
            total += r == absent ? 0 : Pattern.value(r, i, dtype);
        }
        return total;
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void allReduceLeavesTheSameSumEverywhere(int size) {
        inGroup(size, (group, memory) -> {
            for (boolean shared : places(group.rank())) {
                for (int n : new int[] {0, 1, 7, 4097, large(size) * size}) {
                    Tensor tensor = memory.fill(place(group, memory, shared, DType.F32, n), group.rank(), 0);
                    group.allReduce(tensor).await();
                    memory.check("sum", tensor, i -> total(DType.F32, size, i, -1));
                    if (n > 4097 && shared) {
                        break; // the large one once more, in ordinary memory, is enough
                    }
                }
            }
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void sumOfDoublesIsTakenInRankOrder(int size) {
        inGroup(size, (group, memory) -> {
            assertArrayEquals(new double[0], group.sum());
            double[] expected = new double[100];
            double[] own = new double[100];
            for (int i = 0; i < 100; i++) {
                for (int r = 0; r < size; r++) {
                    expected[i] += Math.pow(10, (r * 7 + i) % 23 - 11) / 3;
                }
                own[i] = Math.pow(10, (group.rank() * 7 + i) % 23 - 11) / 3;
            }
            assertArrayEquals(expected, group.sum(own), 0.0);
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void allReduceIsOverSinglePrecisionOnly(int size) {
        inGroup(size, (group, memory) -> {
            Tensor half = memory.allocate(DType.BF16, 8);
            assertThrows(IllegalArgumentException.class, () -> group.allReduce(half));
        });
    }
}
