package org.shardloom.kernels.collective.shm;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Rendezvous;

/**
 * What every rank of the group has from the beginning: a segment with its control page ({@link Mailbox}) and two halves of a staging
 * window, so that one can be filled while peers still read the other.
 */
final class Windows implements AutoCloseable {
    /** Bytes of one half. */
    static final long HALF_BYTES = 4L << 20;

    private final Segment[] segments;
    private final int[] pids;

    private Windows(Segment[] segments, int[] pids) {
        this.segments = segments;
        this.pids = pids;
    }

    /** Makes this rank's segment and opens those of the other ranks. */
    static Windows meet(Rendezvous rendezvous, int rank, int size, AbortSignal signal) {
        Segment own = Segment.create(Mailbox.BYTES + 2 * HALF_BYTES);
        Segment[] segments = new Segment[size];
        segments[rank] = own;
        int[] pids = new int[size];
        try {
            int pid = Math.toIntExact(ProcessHandle.current().pid());
            byte[] offer = ByteBuffer.allocate(8).putInt(pid).putInt(own.fd()).array();
            List<byte[]> offers = rendezvous.exchange("shm", offer);
            signal.check();
            for (int r = 0; r < size; r++) {
                ByteBuffer theirs = ByteBuffer.wrap(offers.get(r));
                pids[r] = theirs.getInt();
                if (r != rank) {
                    segments[r] = Segment.open(pids[r], theirs.getInt());
                }
            }
        } catch (RuntimeException e) {
            Arrays.stream(segments).filter(Objects::nonNull).forEach(Segment::close);
            throw e;
        }
        return new Windows(segments, pids);
    }

    Mailbox[] mailboxes() {
        return Arrays.stream(segments).map(s -> new Mailbox(s.address())).toArray(Mailbox[]::new);
    }

    /** Process of the rank. */
    int pid(int r) {
        return pids[r];
    }

    /** Address of the half of the rank's window that a chunk uses: they take turns. */
    long half(int r, long chunk) {
        return segments[r].address() + Mailbox.BYTES + (chunk & 1) * HALF_BYTES;
    }

    @Override
    public void close() {
        Arrays.stream(segments).forEach(Segment::close);
    }
}
