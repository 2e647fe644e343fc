package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** What every transport must do. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(90)
public abstract class CollectivesContract {
    protected static final Duration LIMIT = Duration.ofSeconds(20);
    private static final int[] LENGTHS = {0, 1, 7, 4097};

    /** Joins a group as one rank of it. */
    protected abstract Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout);

    /** Sizes of group to try. */
    protected abstract IntStream sizes();

    /** So many fp32 elements in each rank's part that the transport needs several rounds to reduce them. */
    protected abstract int large(int size);

    /** What a rank of the group does in a test. */
    @FunctionalInterface
    private interface Member {
        void act(Collectives group, HostBlocks memory) throws Exception;
    }

    private void inGroup(int size, Member member) {
        Meeting meeting = new Meeting(size, LIMIT);
        Ranks.run(size, rank -> {
            try (Collectives group = join(meeting.of(rank), rank, size, LIMIT);
                    HostBlocks memory = new HostBlocks()) {
                assertEquals(rank, group.rank());
                assertEquals(size, group.size());
                member.act(group, memory);
            }
            return null;
        });
    }

    /** Where operands lie: with every rank in shared memory, with none, or with the even ranks only. */
    private static boolean[] places(int rank) {
        return new boolean[] {true, false, rank % 2 == 0};
    }

    /** Every rank makes the shared block, as it must, and uses it or not. */
    private static Tensor place(Collectives group, HostBlocks memory, boolean shared, DType dtype, long elements) {
        Tensor block = group.allocateShared(dtype, elements);
        return shared ? block : memory.allocate(dtype, elements);
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void allGatherPutsEverySliceInItsPlace(int size) {
        inGroup(size, (group, memory) -> {
            for (DType dtype : DType.values()) {
                for (boolean shared : places(group.rank())) {
                    for (int n : LENGTHS) {
                        gather(group, memory, shared, dtype, n);
                    }
                }
            }
            gather(group, memory, false, DType.BF16, large(size));
            gather(group, memory, true, DType.F32, large(size) / 3);
        });
    }

    private static void gather(Collectives group, HostBlocks memory, boolean shared, DType dtype, int n) {
        int rank = group.rank();
        Tensor slice = Pattern.fill(place(group, memory, shared, dtype, n), rank, 0);
        Tensor full = memory.allocate(dtype, (long) group.size() * n);
        group.allGather(full, slice).await();
        Pattern.check("gathered", full, i -> Pattern.value(i / n, i % n, dtype));

        Tensor inPlace = place(group, memory, shared, dtype, (long) group.size() * n);
        Tensor own = inPlace.slice((long) rank * n, n);
        Pattern.fill(own, rank, 5);
        group.allGather(inPlace, own).await();
        Pattern.check("gathered in place", inPlace, i -> Pattern.value(i / n, i % n + 5, dtype));
    }

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
    private static void scatter(Collectives group, HostBlocks memory, boolean shared, DType dtype, int n, int absent) {
        int rank = group.rank();
        int size = group.size();
        Tensor operand = Pattern.fill(place(group, memory, shared, dtype, (long) size * n), rank, 0);
        Tensor full = absent == rank || absent == size ? null : operand;
        Tensor sum = Pattern.fill(memory.allocate(DType.F32, n), 77, 0);
        group.reduceScatter(sum, full, dtype, false).await();
        Pattern.check("sum without " + absent, sum, i -> total(dtype, size, (long) rank * n + i, absent));
        Pattern.fill(sum, 77, 0);
        group.reduceScatter(sum, full, dtype, true).await();
        Pattern.check(
                "added sum without " + absent,
                sum,
                i -> absent == size
                        ? Pattern.value(77, i, DType.F32)
                        : total(Pattern.value(77, i, DType.F32), dtype, size, (long) rank * n + i, absent));
    }

    private static float total(DType dtype, int size, long i, int absent) {
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
                    Tensor tensor = Pattern.fill(place(group, memory, shared, DType.F32, n), group.rank(), 0);
                    group.allReduce(tensor).await();
                    Pattern.check("sum", tensor, i -> total(DType.F32, size, i, -1));
                    if (n > 4097 && shared) {
                        break; // the large one once more, in ordinary memory, is enough
                    }
                }
            }
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void broadcastGivesEveryoneWhatTheRootHas(int size) {
        inGroup(size, (group, memory) -> {
            for (DType dtype : DType.values()) {
                for (int root = 0; root < size; root++) {
                    for (int n : new int[] {0, 1, 7, 4097, root == 0 ? large(size) : 3}) {
                        int from = root;
                        Tensor tensor = Pattern.fill(memory.allocate(dtype, n), group.rank(), 0);
                        group.broadcast(tensor, root).await();
                        Pattern.check("from " + root, tensor, i -> Pattern.value(from, i, dtype));
                    }
                }
            }
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void nobodyPassesABarrierBeforeAllHaveCome(int size) {
        AtomicInteger come = new AtomicInteger();
        inGroup(size, (group, memory) -> {
            for (int round = 1; round <= 5; round++) {
                Thread.sleep(group.rank() * 15L);
                come.incrementAndGet();
                group.barrier().await();
                assertEquals(true, come.get() >= round * size);
            }
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void exchangeMovesTheKthTensorToTheKthPlace(int size) {
        inGroup(size, (group, memory) -> {
            int rank = group.rank();
            group.exchange(List.of(), List.of()).await();
            for (int round = 0; round < 3; round++) {
                List<Move> out = new ArrayList<>();
                List<Move> in = new ArrayList<>();
                for (int k = 0; k < 4; k++) {
                    for (int peer = 0; peer < size; peer++) {
                        out.add(new Move(
                                peer, Pattern.fill(memory.allocate(DType.BF16, moved(rank, peer, k, round)), rank, k)));
                        in.add(new Move(peer, memory.allocate(DType.BF16, moved(peer, rank, k, round))));
                    }
                }
                group.exchange(out, in).await();
                for (int m = 0; m < in.size(); m++) {
                    int k = m / size;
                    int peer = m % size;
                    Pattern.check("moved", in.get(m).tensor(), i -> Pattern.value(peer, i + k, DType.BF16));
                }
            }
        });
    }

    /** Elements in the k-th move between two ranks: none at all between some, more than fits at once between others. */
    private int moved(int from, int to, int k, int round) {
        int[] lengths = {0, 1, 333, 70_001};
        if (round == 2 && from == 0 && k == 1) {
            return 2_500_001;
        }
        return (from + to) % 3 == 2 ? 0 : lengths[(from + 2 * to + k + round) % 4];
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
    void commonMemoryIsSeenByAll(int size) {
        inGroup(size, (group, memory) -> {
            Tensor common = group.allocateCommon(DType.F32, size, 1000);
            if (common == null) {
                assertEquals("aeron", group.transport());
                return;
            }
            Pattern.fill(common.slice(group.rank(), 1), group.rank(), 0);
            group.barrier().await();
            Pattern.check("common", common, i -> Pattern.value(i / 1000, i % 1000, DType.F32));
            group.barrier().await();
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void operationsMayBeIssuedLongBeforeTheyAreAwaited(int size) {
        inGroup(size, (group, memory) -> {
            List<Pending> pending = new ArrayList<>();
            List<Runnable> checks = new ArrayList<>();
            for (int round = 0; round < 30; round++) {
                int n = 1000 * round + 1;
                int root = round % size;
                int from = round;
                Tensor slice = Pattern.fill(memory.allocate(DType.F16, n), group.rank(), from);
                Tensor full = memory.allocate(DType.F16, (long) n * size);
                Tensor reduced = Pattern.fill(memory.allocate(DType.F32, n), group.rank(), from);
                Tensor sent = Pattern.fill(memory.allocate(DType.BF16, n), group.rank(), from);
                pending.add(group.allGather(full, slice));
                pending.add(group.allReduce(reduced));
                pending.add(group.broadcast(sent, root));
                pending.add(group.barrier());
                checks.add(() -> {
                    Pattern.check("gathered", full, i -> Pattern.value(i / n, i % n + from, DType.F16));
                    Pattern.check("reduced", reduced, i -> total(DType.F32, size, i + from, -1));
                    Pattern.check("sent", sent, i -> Pattern.value(root, i + from, DType.BF16));
                });
            }
            pending.forEach(Pending::await);
            checks.forEach(Runnable::run);
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void closingTwiceAndAbortingAfterwardsAreHarmless(int size) {
        Meeting meeting = new Meeting(size, LIMIT);
        Ranks.run(size, rank -> {
            Collectives group = join(meeting.of(rank), rank, size, LIMIT);
            group.barrier().await();
            group.close();
            assertDoesNotThrow(group::close);
            assertDoesNotThrow(() -> group.abort("too late"));
            if (size > 1) {
                assertThrows(CollectiveException.class, () -> group.barrier().await());
            }
            return null;
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
