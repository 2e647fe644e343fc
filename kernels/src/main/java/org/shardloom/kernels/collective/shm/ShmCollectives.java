package org.shardloom.kernels.collective.shm;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.CommunicationThread;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Collectives between processes of one host, through shared memory. An operand in memory of {@link #allocateShared} is read in place
 * by its peers, any other goes through a staging window in chunks ({@link Windows}); {@link Phases} says how the ranks keep step,
 * {@link Transfers} and {@link Sums} what they do.
 *
 * <p>Bytes moved per rank for a tensor of n bytes over W ranks: all-gather reads n (and writes n / W when staged), reduce-scatter
 * reads n, all-reduce reads 2n.
 */
public final class ShmCollectives implements Collectives {
    private final Windows windows;
    private final Phases phases;
    private final SharedBlocks blocks;
    private final Transfers transfers;
    private final Sums sums;
    private final CommunicationThread thread;
    private boolean closing;
    private boolean unmapped;

    private ShmCollectives(int rank, Windows windows, long timeoutNanos) {
        this.windows = windows;
        this.phases = new Phases(rank, windows.mailboxes(), timeoutNanos);
        this.blocks = new SharedBlocks(phases, windows);
        this.transfers = new Transfers(phases, windows, blocks);
        this.sums = new Sums(phases, windows, blocks);
        this.thread = new CommunicationThread("collectives-" + rank, reason -> wakeAll());
    }

    /** Meets the other ranks of this host, for a group that nobody gives up while it is formed. */
    public static ShmCollectives join(Rendezvous rendezvous, int rank, int size, Duration timeout) {
        return join(rendezvous, rank, size, timeout, new AbortSignal());
    }

    /**
     * Meets the other ranks of this host.
     *
     * @param timeout after which an operation whose peer does not come fails
     * @param signal ends the meeting, or later the group
     * @throws CollectiveException when a rank does not come in time, or the group is given up
     */
    public static ShmCollectives join(Rendezvous rendezvous, int rank, int size, Duration timeout, AbortSignal signal) {
        signal.check();
        ShmCollectives group =
                new ShmCollectives(rank, Windows.meet(rendezvous, rank, size, signal), timeout.toNanos());
        try {
            signal.onAbort(group::abort);
            group.barrier().await();
        } catch (RuntimeException e) {
            group.close();
            throw e;
        }
        return group;
    }

    @Override
    public int rank() {
        return phases.rank();
    }

    @Override
    public int size() {
        return phases.size();
    }

    @Override
    public String transport() {
        return "shm";
    }

    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return result(() -> blocks.allocateCommon(dtype, shape));
    }

    @Override
    public void releaseCommon(Tensor tensor) {
        NativeCpu.sharedRelease(tensor.address(), tensor.bytes());
    }

    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return result(() -> blocks.allocate(dtype, shape));
    }

    private <T> T result(Supplier<T> operation) {
        AtomicReference<T> result = new AtomicReference<>();
        thread.submit(() -> result.set(operation.get())).await();
        return result.get();
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        return thread.submit(() -> transfers.allGather(full, slice));
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        return thread.submit(() -> sums.reduceScatter(sum, full, dtype, accumulate));
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("all-reduce is over fp32, found " + tensor);
        }
        return thread.submit(() -> sums.allReduce(tensor));
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return thread.submit(() -> transfers.broadcast(tensor, root));
    }

    @Override
    public Pending barrier() {
        return thread.submit(() -> {
            phases.begin();
            phases.finish();
        });
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        return thread.submit(() -> transfers.exchange(outgoing, incoming));
    }

    @Override
    public double[] sum(double... values) {
        return result(() -> sums.sum(values));
    }

    /** The peers are woken, too: without this rank they would wait in vain. */
    @Override
    public void abort(String reason) {
        thread.abort(reason);
        wakeAll();
    }

    private synchronized void wakeAll() {
        if (!unmapped) {
            phases.abort();
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
        windows.close();
        blocks.close();
    }
}
