package org.shardloom.kernels.collective.aeron;

import java.nio.DoubleBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntFunction;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CommunicationThread;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Collectives between hosts, over Aeron. Every operation is made of steps of {@link Mesh}, in which each rank may send one message
 * to each peer. Sums are taken by the rank that owns the piece, in rank order; contributions wait in scratch memory of 16 MiB, so
 * large operands go through it in chunks.
 *
 * <p>Steps, and bytes that a rank sends, for an operand of n bytes over W ranks:
 *
 * <ul>
 *   <li>all-gather of n bytes in all: 1 step, n (W - 1) / W
 *   <li>reduce-scatter: 1 step for each chunk of 16 MiB W / (W - 1), n (W - 1) / W
 *   <li>all-reduce: 2 steps for each such chunk, 2n (W - 1) / W
 *   <li>broadcast: 1 step; the root sends n (W - 1), the others nothing
 *   <li>barrier: 1 step of empty messages; sum of k doubles: 1 step, 8k (W - 1)
 *   <li>exchange: 1 step, what it was given
 * </ul>
 *
 * <p>The time limit is for a step in which nothing moves at all: a slow network is not a failure, a silent one is.
 */
public final class AeronCollectives implements Collectives {
    private static final Logger LOG = LoggerFactory.getLogger(AeronCollectives.class);
    private final int rank;
    private final int size;
    private final Mesh mesh;
    private final CommunicationThread thread;
    private final Steps steps;
    private final HostBlocks blocks = new HostBlocks();
    private final AtomicBoolean closed = new AtomicBoolean();

    private AeronCollectives(int rank, int size, Mesh mesh) {
        this.rank = rank;
        this.size = size;
        this.mesh = mesh;
        this.thread = new CommunicationThread("aeron-collectives-" + rank, mesh::abort);
        this.steps = new Steps(rank, size, mesh, thread::abortReason);
    }

    /**
     * Meets the other ranks, with {@link AeronOptions#defaults}, for a group that nobody gives up while it is formed.
     *
     * @param hostAddress of this host, at which the other ranks reach it; this rank listens on this address only
     * @param secret known to the members of the run and to nobody else, 16 bytes at least
     * @param timeout after which a step in which nothing moves has failed
     * @throws CollectiveException when Aeron does not start, or a rank does not come or does not hold the secret
     */
    public static AeronCollectives join(
            Rendezvous rendezvous, int rank, int size, String hostAddress, byte[] secret, Duration timeout) {
        return join(
                rendezvous,
                rank,
                size,
                hostAddress,
                secret,
                timeout,
                AeronOptions.defaults(hostAddress, size - 1),
                new AbortSignal());
    }

    /**
     * Meets the other ranks, as the other {@code join} does.
     *
     * @param signal ends the meeting, or later the group
     */
    public static AeronCollectives join(
            Rendezvous rendezvous,
            int rank,
            int size,
            String hostAddress,
            byte[] secret,
            Duration timeout,
            AeronOptions options,
            AbortSignal signal) {
        signal.check();
        GroupKey.checkSecret(secret);
        EmbeddedDriver driver = EmbeddedDriver.start(hostAddress, options, size - 1, liveness(timeout));
        AeronCollectives group;
        try {
            List<byte[]> encoded = rendezvous.exchange("aeron", driver.offer().encode());
            signal.check();
            Offer[] offers = new Offer[size];
            for (int r = 0; r < size; r++) {
                offers[r] = Offer.decode(encoded.get(r), r);
            }
            Mesh mesh = new Mesh(rank, driver, offers, new GroupKey(secret, encoded), timeout.toNanos());
            mesh.greet(signal::reason);
            group = new AeronCollectives(rank, size, mesh);
        } catch (RuntimeException | Error e) {
            driver.close();
            throw e;
        }
        signal.onAbort(group::abort);
        try {
            group.barrier().await();
        } catch (RuntimeException e) {
            group.close();
            throw e;
        }
        return group;
    }

    /** A peer is dead when its driver has been silent for so long; a busy one's driver still sends heartbeats. */
    private static Duration liveness(Duration timeout) {
        return Duration.ofMillis(Math.max(2_000, Math.min(10_000, timeout.toMillis())));
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
        return "aeron";
    }

    /** Attempts by outsiders: sessions that are not of the group, and frames in its sessions that no member made. */
    public long strangers() {
        return mesh.strangers();
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return null;
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return blocks.allocate(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        return thread.submit(() -> {
            long bytes = slice.bytes();
            if (full.address() + rank * bytes != slice.address()) {
                NativeCpu.copy(full.address() + rank * bytes, slice.address(), bytes);
            }
            long n = slice.elements();
            steps.run("all-gather", r -> Message.of(slice), r -> Message.of(Steps.part(full, r * n, n)));
        });
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        return thread.submit(() -> {
            long elements = sum.elements();
            long most = steps.chunkElements(dtype);
            long from = 0;
            do { // once at least, so that the ranks keep step
                long count = Math.min(most, elements - from);
                long first = from;
                steps.reduce(
                        "reduce-scatter",
                        Steps.part(sum, first, count),
                        accumulate,
                        dtype,
                        full == null ? null : r -> Steps.part(full, r * elements + first, count));
                from += most;
            } while (from < elements);
        });
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("all-reduce is over fp32, found " + tensor);
        }
        return thread.submit(() -> {
            long most = steps.chunkElements(DType.F32) * size;
            for (long from = 0; from < tensor.elements(); from += most) {
                Tensor chunk = Steps.part(tensor, from, Math.min(most, tensor.elements() - from));
                long piece = (chunk.elements() + size - 1) / size;
                IntFunction<Tensor> pieces =
                        r -> Steps.part(chunk, r * piece, Math.min(piece, chunk.elements() - r * piece));
                Tensor own = pieces.apply(rank);
                steps.reduce("all-reduce", own, false, DType.F32, pieces);
                steps.run("all-reduce", r -> Message.of(own), r -> Message.of(pieces.apply(r)));
            }
        });
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return thread.submit(() -> steps.run(
                "broadcast",
                r -> rank == root ? Message.of(tensor) : null,
                r -> r == root ? Message.of(tensor) : null));
    }

    @Override
    public Pending barrier() {
        return thread.submit(() -> steps.run("barrier", r -> Message.signal(), r -> Message.signal()));
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        return thread.submit(() -> {
            List<List<Tensor>> out = byPeer(outgoing);
            List<List<Tensor>> in = byPeer(incoming);
            for (int k = 0; k < out.get(rank).size(); k++) {
                Tensor from = out.get(rank).get(k);
                NativeCpu.copy(in.get(rank).get(k).address(), from.address(), from.bytes());
            }
            steps.run("exchange", r -> orNull(out.get(r)), r -> orNull(in.get(r)));
        });
    }

    private List<List<Tensor>> byPeer(List<Move> moves) {
        List<List<Tensor>> lists = new ArrayList<>();
        for (int r = 0; r < size; r++) {
            lists.add(new ArrayList<>());
        }
        moves.forEach(move -> lists.get(move.peer()).add(move.tensor()));
        return lists;
    }

    private static Message orNull(List<Tensor> tensors) {
        Message message = new Message(tensors);
        return message.bytes() == 0 ? null : message;
    }

    @Override
    public double[] sum(double... values) {
        double[] totals = new double[values.length];
        thread.submit(() -> {
                    // As pairs of fp32: the element type is of no matter to who only moves bytes.
                    try (HostBlocks temporary = new HostBlocks()) {
                        Tensor[] rows = new Tensor[size];
                        for (int r = 0; r < size; r++) {
                            rows[r] = temporary.allocate(DType.F32, 2L * values.length);
                        }
                        doubles(rows[rank]).put(values);
                        steps.run("sum", r -> Message.of(rows[rank]), r -> Message.of(rows[r]));
                        for (Tensor row : rows) {
                            DoubleBuffer theirs = doubles(row);
                            for (int i = 0; i < totals.length; i++) {
                                totals[i] += theirs.get(i);
                            }
                        }
                    }
                })
                .await();
        return totals;
    }

    private static DoubleBuffer doubles(Tensor row) {
        return HostBytes.view(row.address(), row.bytes()).asDoubleBuffer();
    }

    @Override
    public void abort(String reason) {
        thread.abort(reason);
    }

    /**
     * Unless the group was aborted, waits until what was sent has gone out, at most for the time limit, and up to a second for the
     * peers to close, too.
     */
    @Override
    public void close() {
        if (!closed.compareAndSet(false, true)) {
            return;
        }
        try {
            thread.submit(() -> mesh.leave(thread::abortReason)).await();
        } catch (CollectiveException e) {
            LOG.debug("closed without waiting for the peers: {}", e.getMessage());
        }
        thread.close();
        mesh.close();
        steps.close();
        blocks.close();
    }
}
