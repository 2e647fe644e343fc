package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** What every transport must do. */
public abstract class CollectivesContract extends SumsContract {
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

    private static void gather(Collectives group, Operands memory, boolean shared, DType dtype, int n) {
        int rank = group.rank();
        Tensor slice = memory.fill(place(group, memory, shared, dtype, n), rank, 0);
        Tensor full = memory.allocate(dtype, (long) group.size() * n);
        group.allGather(full, slice).await();
        memory.check("gathered", full, i -> Pattern.value(i / n, i % n, dtype));

        Tensor inPlace = place(group, memory, shared, dtype, (long) group.size() * n);
        Tensor own = inPlace.slice((long) rank * n, n);
        memory.fill(own, rank, 5);
        group.allGather(inPlace, own).await();
        memory.check("gathered in place", inPlace, i -> Pattern.value(i / n, i % n + 5, dtype));
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void broadcastGivesEveryoneWhatTheRootHas(int size) {
        inGroup(size, (group, memory) -> {
            for (DType dtype : DType.values()) {
                for (int root = 0; root < size; root++) {
                    for (int n : new int[] {0, 1, 7, 4097, root == 0 ? large(size) : 3}) {
                        int from = root;
                        Tensor tensor = memory.fill(memory.allocate(dtype, n), group.rank(), 0);
                        group.broadcast(tensor, root).await();
                        memory.check("from " + root, tensor, i -> Pattern.value(from, i, dtype));
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
                                peer, memory.fill(memory.allocate(DType.BF16, moved(rank, peer, k, round)), rank, k)));
                        in.add(new Move(peer, memory.allocate(DType.BF16, moved(peer, rank, k, round))));
                    }
                }
                group.exchange(out, in).await();
                for (int m = 0; m < in.size(); m++) {
                    int k = m / size;
                    int peer = m % size;
                    memory.check("moved", in.get(m).tensor(), i -> Pattern.value(peer, i + k, DType.BF16));
                }
            }
        });
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void exchangeMovesThousandsAtOnce(int size) {
        int most = 3000;
        inGroup(size, (group, memory) -> {
            int rank = group.rank();
            List<Move> out = new ArrayList<>();
            List<Move> in = new ArrayList<>();
            Tensor own = memory.fill(memory.allocate(DType.F32, most), rank, 0);
            Tensor[] from = new Tensor[size];
            for (int peer = 0; peer < size; peer++) {
                from[peer] = memory.fill(memory.allocate(DType.F32, most), 99, 0);
                for (int k = 0; k < most / (1 + (rank + peer) % 3); k++) {
                    out.add(new Move(peer, own.slice(k, k % 5 == 0 ? 0 : 1)));
                    in.add(new Move(peer, from[peer].slice(k, k % 5 == 0 ? 0 : 1)));
                }
            }
            group.exchange(out, in).await();
            for (int peer = 0; peer < size; peer++) {
                int source = peer;
                int count = most / (1 + (rank + peer) % 3);
                memory.check(
                        "moved", from[peer], i -> Pattern.value(i >= count || i % 5 == 0 ? 99 : source, i, DType.F32));
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
    void commonMemoryIsSeenByAll(int size) {
        inGroup(size, (group, memory) -> {
            Tensor common = group.allocateCommon(DType.F32, size, 1000);
            if (common == null) {
                assertTrue(Set.of("aeron", "nccl", "local").contains(group.transport()));
                return;
            }
            memory.fill(common.slice(group.rank(), 1), group.rank(), 0);
            group.barrier().await();
            memory.check("common", common, i -> Pattern.value(i / 1000, i % 1000, DType.F32));
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
                Tensor slice = memory.fill(memory.allocate(DType.F16, n), group.rank(), from);
                Tensor full = memory.allocate(DType.F16, (long) n * size);
                Tensor reduced = memory.fill(memory.allocate(DType.F32, n), group.rank(), from);
                Tensor sent = memory.fill(memory.allocate(DType.BF16, n), group.rank(), from);
                pending.add(group.allGather(full, slice));
                pending.add(group.allReduce(reduced));
                pending.add(group.broadcast(sent, root));
                pending.add(group.barrier());
                checks.add(() -> {
                    memory.check("gathered", full, i -> Pattern.value(i / n, i % n + from, DType.F16));
                    memory.check("reduced", reduced, i -> total(DType.F32, size, i + from, -1));
                    memory.check("sent", sent, i -> Pattern.value(root, i + from, DType.BF16));
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
}
