package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** How every transport with peers must fail: soon, on all ranks, and saying why. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(90)
public abstract class FailureContract {
    private static final Duration LONG = Duration.ofSeconds(30);

    /** Joins a group as one rank of it. */
    protected abstract Collectives join(
            Rendezvous rendezvous, int rank, int size, Duration timeout, AbortSignal signal);

    private Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return join(rendezvous, rank, size, timeout, new AbortSignal());
    }

    /** Where a rank has its tensors. */
    protected Operands operands(int rank) {
        return Operands.onHost();
    }

    /** What a message about a rank that does not come must contain: the rank, or what the transport knows instead. */
    protected String named(int absent, String otherwise) {
        return "rank " + absent;
    }

    IntStream sizes() {
        return IntStream.of(2, 3);
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void anAbortWhileWaitingEndsTheOperationOnAllRanks(int size) {
        Meeting meeting = new Meeting(size + 1, LONG);
        AtomicLong abortedAt = new AtomicLong();
        // The last rank never issues the operation, so that the others wait; rank 0 is aborted.
        List<Long> failedAt = Ranks.run(size + 1, rank -> {
            Collectives group = join(meeting.of(rank), rank, size + 1, LONG);
            try (group;
                    Operands memory = operands(rank)) {
                if (rank == size) {
                    Thread.sleep(1500);
                    return 0L;
                }
                Pending first = group.allReduce(memory.allocate(DType.F32, 100_000));
                Pending second = group.barrier();
                if (rank == 0) {
                    Thread.sleep(300);
                    abortedAt.set(System.nanoTime());
                    group.abort("the user has changed her mind");
                }
                CollectiveException e = assertThrows(CollectiveException.class, () -> memory.await(first));
                long now = System.nanoTime();
                assertThrows(CollectiveException.class, second::await);
                assertThrows(CollectiveException.class, () -> group.barrier().await());
                if (rank == 0) {
                    assertTrue(e.getMessage().contains("changed her mind"), e.getMessage());
                }
                return now;
            }
        });
        for (int r = 0; r < size; r++) {
            long millis = (failedAt.get(r) - abortedAt.get()) / 1_000_000;
            assertTrue(millis < (r == 0 ? 100 + 200 : 1000), "rank " + r + " took " + millis + " ms");
        }
    }

    @ParameterizedTest(name = "{0} ranks")
    @MethodSource("sizes")
    void aRankThatNeverComesIsNamedWhenTimeRunsOut(int size) {
        Duration limit = Duration.ofSeconds(1);
        Meeting meeting = new Meeting(size, LONG);
        int absent = size - 1;
        List<String> messages = Ranks.run(size, rank -> {
            try (Collectives group = join(meeting.of(rank), rank, size, limit);
                    Operands memory = operands(rank)) {
                if (rank == absent) {
                    Thread.sleep(2500);
                    return "";
                }
                Tensor full = memory.allocate(DType.F32, size * 10L);
                long start = System.nanoTime();
                Pending pending = group.allGather(full, full.slice(rank * 10L, 10));
                CollectiveException e = assertThrows(CollectiveException.class, () -> memory.await(pending));
                long millis = (System.nanoTime() - start) / 1_000_000;
                assertTrue(millis >= 700 && millis < 2300, "took " + millis + " ms");
                return e.getMessage();
            }
        });
        messages.subList(0, absent).forEach(m -> assertTrue(m.contains(named(absent, "all-gather")), m));
    }

    @Test
    void anAbortEndsAGroupThatIsStillBeingFormed() {
        Meeting meeting = new Meeting(2, LONG);
        AbortSignal signal = new AbortSignal();
        AtomicLong abortedAt = new AtomicLong();
        Ranks.run(2, rank -> {
            if (rank == 1) {
                // Comes to the rendezvous, and is held up before it meets the other.
                Rendezvous late = (key, offer) -> {
                    List<byte[]> offers = meeting.of(1).exchange(key, offer);
                    pause(700);
                    abortedAt.set(System.nanoTime());
                    signal.abort("a worker was lost");
                    pause(1000);
                    return offers;
                };
                CollectiveException e = assertThrows(CollectiveException.class, () -> join(late, 1, 2, LONG, signal));
                assertTrue(e.getMessage().contains("a worker was lost"), e.getMessage());
                return null;
            }
            CollectiveException e =
                    assertThrows(CollectiveException.class, () -> join(meeting.of(0), 0, 2, LONG, signal));
            long millis = (System.nanoTime() - abortedAt.get()) / 1_000_000;
            assertTrue(abortedAt.get() != 0 && millis < 900, "given up after " + millis + " ms: " + e);
            assertTrue(e.getMessage().contains("a worker was lost"), e.getMessage());
            assertTrue(e.getMessage().contains(named(1, "rank 0")), e.getMessage());
            return null;
        });
        CollectiveException e = assertThrows(CollectiveException.class, () -> join(meeting.of(0), 0, 2, LONG, signal));
        assertEquals("a worker was lost", e.getMessage(), "a group that is not wanted is not begun");
    }

    @Test
    void anAbortReachesAGroupLongAfterItWasFormed() {
        Meeting meeting = new Meeting(2, LONG);
        AbortSignal signal = new AbortSignal();
        Ranks.run(2, rank -> {
            try (Collectives group = join(meeting.of(rank), rank, 2, LONG, signal)) {
                group.barrier().await();
                if (rank == 1) {
                    pause(300);
                    signal.abort("enough");
                } else {
                    CollectiveException e = assertThrows(
                            CollectiveException.class, () -> group.barrier().await());
                    assertTrue(e.getMessage().contains("enough"), e.getMessage());
                }
            }
            return null;
        });
        signal.abort("again, when the groups are closed");
        assertEquals("enough", signal.reason());
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void nothingMoreIsTriedAfterAFailure() {
        Duration limit = Duration.ofSeconds(1);
        Meeting meeting = new Meeting(2, LONG);
        Ranks.run(2, rank -> {
            try (Collectives group = join(meeting.of(rank), rank, 2, limit)) {
                if (rank == 1) {
                    Thread.sleep(2000);
                    return null;
                }
                Pending[] pending =
                        IntStream.range(0, 20).mapToObj(i -> group.barrier()).toArray(Pending[]::new);
                long start = System.nanoTime();
                for (Pending p : pending) {
                    assertThrows(CollectiveException.class, p::await);
                }
                long seconds = (System.nanoTime() - start) / 1_000_000_000;
                assertTrue(seconds <= 2, "20 operations failed after " + seconds + " s");
            }
            return null;
        });
    }

    @Test
    void anAbortFreesARankThatIsClosing() {
        Meeting meeting = new Meeting(2, LONG);
        Ranks.run(2, rank -> {
            Collectives group = join(meeting.of(rank), rank, 2, LONG);
            if (rank == 1) {
                Thread.sleep(1500);
                group.close();
                return null;
            }
            Pending pending = group.barrier();
            Thread aborter = new Thread(() -> {
                try {
                    Thread.sleep(300);
                } catch (InterruptedException e) {
                    return;
                }
                group.abort("enough");
            });
            aborter.start();
            long start = System.nanoTime();
            group.close();
            assertThrows(CollectiveException.class, pending::await);
            assertEquals(true, System.nanoTime() - start < 1_500_000_000L);
            aborter.join();
            return null;
        });
    }
}
