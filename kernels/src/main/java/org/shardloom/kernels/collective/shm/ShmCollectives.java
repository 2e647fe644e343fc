package org.shardloom.kernels.collective.shm;

import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.shardloom.kernels.collective.AddressList;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CommunicationThread;
import org.shardloom.kernels.collective.Pending;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Collectives between processes of one host, through shared memory. Each rank has a control page ({@link Mailbox}) and a staging
 * window; an operand in memory of {@link #allocateShared} is read in place by its peers, any other goes through the window in
 * chunks. A phase is: put data in place, post, wait for the peers' posts, read theirs, say done.
 *
 * <p>Bytes moved per rank for a tensor of n bytes over W ranks: all-gather reads n (and writes n / W when staged), reduce-scatter
 * reads n, all-reduce reads 2n.
 */
public final class ShmCollectives implements Collectives {
    private static final long WINDOW = 4L << 20;
    private static final long JOIN_NANOS = 15_000_000_000L;
    private static final long NOTHING = -1;
    private static final long STAGED = -2;
    private final int rank;
    private final int size;
    private volatile long timeoutNanos;
    private final Segment[] windows;
    private final Mailbox[] mailboxes;
    private final int[] pids;
    private final CommunicationThread thread;
    private final List<Segment[]> shared = new ArrayList<>();
    private final List<Segment> common = new ArrayList<>();
    private int phase;
    private boolean closing;
    private boolean unmapped;

    private ShmCollectives(int rank, Segment[] windows, int[] pids, Duration timeout) {
        this.rank = rank;
        this.size = windows.length;
        this.windows = windows;
        this.pids = pids;
        this.timeoutNanos = timeout.toNanos();
        this.mailboxes =
                Arrays.stream(windows).map(w -> new Mailbox(w.address())).toArray(Mailbox[]::new);
        this.thread = new CommunicationThread("collectives-" + rank, reason -> wakeAll());
    }

    /**
     * Meets the other ranks of this host.
     *
     * @param timeout after which an operation whose peer does not come fails
     */
    public static ShmCollectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        Segment own = Segment.create(Mailbox.BYTES + 2 * WINDOW);
        Segment[] windows = new Segment[size];
        windows[rank] = own;
        int[] pids = new int[size];
        try {
            int pid = Math.toIntExact(ProcessHandle.current().pid());
            byte[] offer = ByteBuffer.allocate(8).putInt(pid).putInt(own.fd()).array();
            List<byte[]> offers = rendezvous.exchange("shm", offer);
            for (int r = 0; r < size; r++) {
                ByteBuffer theirs = ByteBuffer.wrap(offers.get(r));
                pids[r] = theirs.getInt();
                if (r != rank) {
                    windows[r] = Segment.open(pids[r], theirs.getInt());
                }
            }
        } catch (RuntimeException e) {
            Arrays.stream(windows).filter(w -> w != null).forEach(Segment::close);
            throw e;
        }
        ShmCollectives group = new ShmCollectives(rank, windows, pids, timeout);
        try {
            // Nobody can abort a group that is being formed, so this wait is short.
            group.timeoutNanos = Math.min(timeout.toNanos(), JOIN_NANOS);
            group.barrier().await();
            group.timeoutNanos = timeout.toNanos();
        } catch (RuntimeException e) {
            group.close();
            throw e;
        }
        return group;
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public String transport() {
        return "shm";
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        Tensor wanted = new Tensor(0, dtype, shape);
        Segment[] holder = new Segment[1];
        thread.submit(() -> {
                    if (rank == 0) {
                        holder[0] = Segment.create(Math.max(4096, wanted.bytes()));
                    }
                    int n = postAndWait(rank == 0 ? holder[0].fd() : 0);
                    if (rank != 0) {
                        holder[0] = Segment.open(pids[0], (int) mailboxes[0].argument(n, 0));
                    }
                    finish(n);
                })
                .await();
        common.add(holder[0]);
        return new Tensor(holder[0].address(), dtype, shape);
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        Tensor wanted = new Tensor(0, dtype, shape);
        Segment[] segments = new Segment[size];
        thread.submit(() -> {
                    segments[rank] = Segment.create(Math.max(4096, wanted.bytes()));
                    int n = postAndWait(segments[rank].fd());
                    for (int r = 0; r < size; r++) {
                        if (r != rank) {
                            segments[r] = Segment.open(pids[r], (int) mailboxes[r].argument(n, 0));
                        }
                    }
                    finish(n);
                    shared.add(segments);
                })
                .await();
        return new Tensor(segments[rank].address(), dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        return thread.submit(() -> {
            long bytes = slice.bytes();
            Place place = find(slice);
            int n = postAndWait(place == null ? STAGED : place.segment, place == null ? 0 : place.offset);
            if (!isStaged(n)) {
                for (int i = 0; i < size; i++) {
                    int r = (rank + i) % size;
                    long target = full.address() + r * bytes;
                    if (target != slice.address()) {
                        NativeCpu.copy(target, peerAddress(n, r), bytes);
                    }
                }
                finish(n);
                return;
            }
            mailboxes[rank].done(n);
            for (long from = 0, chunk = 0; from < bytes; from += WINDOW, chunk++) {
                long count = Math.min(WINDOW, bytes - from);
                NativeCpu.copy(half(rank, chunk), slice.address() + from, count);
                n = postAndWait();
                for (int i = 0; i < size; i++) {
                    int r = (rank + i) % size;
                    NativeCpu.copy(full.address() + r * bytes + from, half(r, chunk), count);
                }
                mailboxes[rank].done(n);
                awaitDone(n - 1);
            }
            awaitDone(phase);
        });
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        return thread.submit(() -> {
            long elements = sum.elements();
            Place place = full == null ? new Place(NOTHING, 0) : find(full);
            int n = postAndWait(place == null ? STAGED : place.segment, place == null ? 0 : place.offset);
            if (!isStaged(n)) {
                long[] sources = new long[size];
                int count = 0;
                for (int r = 0; r < size; r++) {
                    if (mailboxes[r].argument(n, 0) >= 0) {
                        sources[count++] = peerAddress(n, r) + rank * elements * dtype.bytes;
                    }
                }
                sum(sum.address(), accumulate, Arrays.copyOf(sources, count), dtype, elements);
                finish(n);
                return;
            }
            mailboxes[rank].done(n);
            long chunkElements = WINDOW / size / dtype.bytes;
            for (long from = 0, chunk = 0; from < elements; from += chunkElements, chunk++) {
                long count = Math.min(chunkElements, elements - from);
                for (int r = 0; full != null && r < size; r++) {
                    NativeCpu.copy(
                            half(rank, chunk) + r * count * dtype.bytes,
                            full.address() + (r * elements + from) * dtype.bytes,
                            count * dtype.bytes);
                }
                n = postAndWait(full == null ? 0 : 1);
                long[] sources = new long[size];
                int contributors = 0;
                for (int r = 0; r < size; r++) {
                    if (mailboxes[r].argument(n, 0) == 1) {
                        sources[contributors++] = half(r, chunk) + rank * count * dtype.bytes;
                    }
                }
                sum(sum.address() + from * 4, accumulate, Arrays.copyOf(sources, contributors), dtype, count);
                mailboxes[rank].done(n);
                awaitDone(n - 1);
            }
            awaitDone(phase);
        });
    }

    /** Staging is agreed on: whoever cannot offer its operand in place has said so in the phase, before anything moves. */
    private boolean isStaged(int n) {
        return Arrays.stream(mailboxes).anyMatch(mailbox -> mailbox.argument(n, 0) == STAGED);
    }

    private static void sum(long out, boolean accumulate, long[] sources, DType dtype, long elements) {
        if (sources.length == 0) {
            if (!accumulate) {
                NativeCpu.fill(out, 0, elements * 4);
            }
            return;
        }
        try (AddressList list = new AddressList(sources)) {
            NativeCpu.sumSources(out, accumulate, list.address(), sources.length, dtype.code, elements);
        }
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("all-reduce is over fp32, found " + tensor);
        }
        return thread.submit(() -> {
            long chunkElements = WINDOW / 4;
            for (long from = 0; from < tensor.elements(); from += chunkElements) {
                long count = Math.min(chunkElements, tensor.elements() - from);
                long part = (count + size - 1) / size;
                NativeCpu.copy(half(rank, 0), tensor.address() + from * 4, count * 4);
                int n = postAndWait();
                long own = Math.min(part * rank, count), ownCount = Math.min(part, count - own);
                long[] sources = new long[size];
                for (int r = 0; r < size; r++) {
                    sources[r] = half(r, 0) + own * 4;
                }
                sum(half(rank, 1), false, sources, DType.F32, ownCount);
                mailboxes[rank].done(n);
                n = postAndWait();
                for (int r = 0; r < size; r++) {
                    long start = Math.min(part * r, count);
                    NativeCpu.copy(
                            tensor.address() + (from + start) * 4, half(r, 1), Math.min(part, count - start) * 4);
                }
                finish(n);
            }
        });
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return thread.submit(() -> {
            for (long from = 0, chunk = 0; from < tensor.bytes(); from += WINDOW, chunk++) {
                long count = Math.min(WINDOW, tensor.bytes() - from);
                if (rank == root) {
                    NativeCpu.copy(half(rank, chunk), tensor.address() + from, count);
                }
                int n = postAndWait();
                if (rank != root) {
                    NativeCpu.copy(tensor.address() + from, half(root, chunk), count);
                }
                mailboxes[rank].done(n);
                awaitDone(n - 1);
            }
            awaitDone(phase);
        });
    }

    @Override
    public Pending barrier() {
        return thread.submit(() -> finish(postAndWait()));
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        return thread.submit(() -> {
            long budget = WINDOW / size;
            ByteRuns[] out = ByteRuns.byPeer(outgoing, size);
            ByteRuns[] in = ByteRuns.byPeer(incoming, size);
            long mine = 0;
            for (int r = 0; r < size; r++) {
                mine = Math.max(mine, Math.max(out[r].bytes(), in[r].bytes()));
            }
            int n = postAndWait(mine);
            long most = 0;
            for (int r = 0; r < size; r++) {
                most = Math.max(most, mailboxes[r].argument(n, 0));
            }
            mailboxes[rank].done(n);
            for (long from = 0, chunk = 0; from < most; from += budget, chunk++) {
                for (int r = 0; r < size; r++) {
                    out[r].copyOut(from, budget, half(rank, chunk) + r * budget);
                }
                n = postAndWait();
                for (int r = 0; r < size; r++) {
                    in[r].copyIn(from, budget, half(r, chunk) + rank * budget);
                }
                mailboxes[rank].done(n);
                awaitDone(n - 1);
            }
            awaitDone(phase);
        });
    }

    @Override
    public double[] sum(double... values) {
        double[] totals = new double[values.length];
        int bytes = values.length * Double.BYTES;
        thread.submit(() -> {
                    HostBytes.view(half(rank, 0), bytes).asDoubleBuffer().put(values);
                    int n = postAndWait();
                    for (int r = 0; r < size; r++) {
                        DoubleBuffer theirs = HostBytes.view(half(r, 0), bytes).asDoubleBuffer();
                        for (int i = 0; i < totals.length; i++) {
                            totals[i] += theirs.get(i);
                        }
                    }
                    finish(n);
                })
                .await();
        return totals;
    }

    /** The peers are woken, too: without this rank they would wait in vain. */
    @Override
    public void abort(String reason) {
        thread.abort(reason);
        wakeAll();
    }

    private synchronized void wakeAll() {
        if (!unmapped) {
            Arrays.stream(mailboxes).forEach(Mailbox::abort);
        }
    }

    @Override
    public void close() {
        synchronized (this) {
            if (closing) {
                return;
            }
            closing = true;
        }
        thread.close(); // not under the lock, which an abort of what it waits for needs
        synchronized (this) {
            unmapped = true;
        }
        Arrays.stream(windows).forEach(Segment::close);
        shared.forEach(segments -> Arrays.stream(segments).forEach(Segment::close));
        common.forEach(Segment::close);
        shared.clear();
        common.clear();
    }

    /** Posts the next phase and waits until every peer has posted it. */
    private int postAndWait(long... arguments) {
        int n = ++phase;
        mailboxes[rank].post(n, arguments);
        for (int r = 0; r < size; r++) {
            if (r != rank) {
                mailboxes[r].awaitPosted(n, mailboxes[rank], timeoutNanos, "rank " + r);
            }
        }
        return n;
    }

    private void finish(int n) {
        mailboxes[rank].done(n);
        awaitDone(n);
    }

    /** Waits until every peer has finished reading what was posted for the phase. */
    private void awaitDone(int n) {
        for (int r = 0; r < size; r++) {
            if (r != rank) {
                mailboxes[r].awaitDone(n, mailboxes[rank], timeoutNanos, "rank " + r);
            }
        }
    }

    private long half(int r, long chunk) {
        return windows[r].address() + Mailbox.BYTES + (chunk & 1) * WINDOW;
    }

    private Place find(Tensor tensor) {
        for (int i = 0; i < shared.size(); i++) {
            Segment own = shared.get(i)[rank];
            if (own.contains(tensor.address(), tensor.bytes())) {
                return new Place(i, tensor.address() - own.address());
            }
        }
        return null;
    }

    private long peerAddress(int n, int r) {
        return shared.get((int) mailboxes[r].argument(n, 0))[r].address() + mailboxes[r].argument(n, 1);
    }

    private record Place(long segment, long offset) {}
}
