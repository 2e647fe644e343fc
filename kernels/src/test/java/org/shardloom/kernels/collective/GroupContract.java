package org.shardloom.kernels.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.stream.IntStream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Groups of a transport for the tests of what every transport must do. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(90)
abstract class GroupContract {
    protected static final Duration LIMIT = Duration.ofSeconds(20);
    static final int[] LENGTHS = {0, 1, 7, 4097};

    /** Joins a group as one rank of it. */
    protected abstract Collectives join(Rendezvous rendezvous, int rank, int size, Duration timeout);

    /** Where a rank has its tensors. */
    protected Operands operands(int rank) {
        return Operands.onHost();
    }

    /** Sizes of group to try. */
    protected abstract IntStream sizes();

    /** So many fp32 elements in each rank's part that the transport needs several rounds to reduce them. */
    protected abstract int large(int size);

    /** What a rank of the group does in a test. */
    @FunctionalInterface
    interface Member {
        void act(Collectives group, Operands memory) throws Exception;
    }

    final void inGroup(int size, Member member) {
        Meeting meeting = new Meeting(size, LIMIT);
        Ranks.run(size, rank -> {
            try (Collectives group = join(meeting.of(rank), rank, size, LIMIT);
                    Operands memory = operands(rank)) {
                assertEquals(rank, group.rank());
                assertEquals(size, group.size());
                member.act(group, memory);
            }
            return null;
        });
    }

    /** Where operands lie: with every rank in shared memory, with none, or with the even ranks only. */
    static boolean[] places(int rank) {
        return new boolean[] {true, false, rank % 2 == 0};
    }

    /** Every rank makes the shared block, as it must, and uses it or not. */
    static Tensor place(Collectives group, Operands memory, boolean shared, DType dtype, long elements) {
        Tensor block = group.allocateShared(dtype, elements);
        return shared ? block : memory.allocate(dtype, elements);
    }
}
