package org.shardloom.kernels.collective.nccl;

import static org.shardloom.kernels.device.Shapes.require;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.CudaException;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Collectives between GPUs, one a rank, in the device's communication stream. An operation begins after what the compute stream was given
 * before; {@link Pending#await} puts what the compute stream is given from then on after it, and the thread goes on at once. Only {@link
 * #barrier}, awaited, and {@link #sum} hold up the thread.
 *
 * <p>So a failure may come when an operation has long been awaited. Then every wait of the host for the device fails until the group is
 * closed, and every operation issued or awaited later: numbers that reach the host are whole.
 */
public final class NcclCollectives implements Collectives {
    /** Operands go through two pieces of that many bytes where they cannot be reduced where they lie. */
    public static final long PIECE_BYTES = 32L << 20;

    private final int rank;
    private final int size;
    private final CudaDevice device;
    private final CommunicationStream stream;
    private final Failure failure;
    private final Supplier<RuntimeException> guard;
    private final Communicator communicator;
    private final Watcher watcher;
    private final Memory workspace;
    private final Memory pinned;
    private final Memory shared;
    private final Reductions reductions;
    private final HostSums hostSums;
    private boolean closed;

    private NcclCollectives(
            int rank,
            int size,
            CudaDevice device,
            Communicator communicator,
            Failure failure,
            Duration timeout,
            boolean fixedOrder,
            long pieceBytes) {
        this.rank = rank;
        this.size = size;
        this.device = device;
        this.communicator = communicator;
        this.failure = failure;
        stream = device.communication();
        workspace = device.memory(Purpose.WORKSPACE);
        pinned = device.hostMemory(Purpose.WORKSPACE);
        shared = device.uncountedMemory(Purpose.GRADIENTS);
        Pieces pieces = new Pieces(workspace, pieceBytes);
        reductions = new Reductions(rank, size, fixedOrder, communicator, stream, pieces);
        hostSums = new HostSums(rank, size, communicator, stream, pieces, pinned);
        guard = () -> failure.of("what was on " + device.name());
        stream.guard(guard);
        watcher = new Watcher(rank, communicator, stream, failure, timeout);
    }

    /** Why there is no NCCL that will do, in one line; empty where there is one. */
    public static Optional<String> problem() {
        return Optional.ofNullable(NcclLibrary.find().problem());
    }

    /**
     * Meets the other ranks.
     *
     * @param device that no other rank uses; it outlives the group
     * @param timeout after which an operation, or the meeting, whose peer does not come fails
     * @param signal ends the meeting, or later the group
     * @param fixedOrder sums are taken in rank order, so that they repeat exactly; else as NCCL likes, which sends no more but may add faster
     * @throws CollectiveException when there is no NCCL that will do, two ranks share a GPU, a rank does not come in time, or the group is
     *     given up
     */
    public static NcclCollectives join(
            Rendezvous rendezvous,
            int rank,
            int size,
            CudaDevice device,
            Duration timeout,
            AbortSignal signal,
            boolean fixedOrder) {
        return join(rendezvous, rank, size, device, timeout, signal, fixedOrder, PIECE_BYTES);
    }

    static NcclCollectives join(
            Rendezvous rendezvous,
            int rank,
            int size,
            CudaDevice device,
            Duration timeout,
            AbortSignal signal,
            boolean fixedOrder,
            long pieceBytes) {
        signal.check();
        NcclLibrary.Found library = NcclLibrary.find();
        byte[] offered = new byte[0];
        if (library.problem() == null && rank == 0) {
            try {
                offered = Communicator.newId();
            } catch (CollectiveException e) {
                // The others are waiting to be told.
                library = new NcclLibrary.Found(library.version(), e.getMessage());
            }
        }
        byte[] id = Roll.call(rendezvous, library, device.identity(), offered);
        Failure failure = new Failure(rank);
        signal.onAbort(failure::set);
        Communicator communicator = Communicator.connect(id, rank, size, device.communication(), timeout, failure);
        NcclCollectives group;
        try {
            group = new NcclCollectives(rank, size, device, communicator, failure, timeout, fixedOrder, pieceBytes);
        } catch (RuntimeException e) {
            communicator.abort();
            throw e;
        }
        signal.onAbort(group::abort);
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
        return "nccl";
    }

    /** GPUs have no memory in common. */
    @Override
    public Tensor allocateCommon(DType dtype, long... shape) {
        return null;
    }

    /** Memory of the device; its user counts it, as with every transport. */
    @Override
    public Tensor allocateShared(DType dtype, long... shape) {
        return shared.allocate(dtype, shape);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice) {
        return allGather(full, slice, Device.Transfer.DONE);
    }

    @Override
    public Pending allGather(Tensor full, Tensor slice, Device.Transfer arriving) {
        require(
                full.elements() == slice.elements() * size && full.dtype() == slice.dtype(),
                "%s is not %d times %s",
                full,
                size,
                slice);
        return issue("all-gather", () -> {
            stream.after(arriving);
            if (slice.bytes() > 0) {
                communicator.allGather(full.address(), slice.address(), slice.bytes());
            }
        });
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        return reduceScatter(sum, full, dtype, accumulate, Device.Transfer.DONE);
    }

    @Override
    public Pending reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate, Device.Transfer leaving) {
        require(sum.dtype() == DType.F32, "sums are taken in fp32, found %s", sum);
        if (full != null) {
            require(
                    full.dtype() == dtype && full.elements() == sum.elements() * size,
                    "%s is not %s, %d times %s",
                    full,
                    dtype,
                    size,
                    sum);
        }
        return issue("reduce-scatter", () -> {
            stream.after(leaving);
            reductions.reduceScatter(sum, full, dtype, accumulate);
        });
    }

    @Override
    public Pending allReduce(Tensor tensor) {
        require(tensor.dtype() == DType.F32, "all-reduce is over fp32, found %s", tensor);
        return issue("all-reduce", () -> reductions.allReduce(tensor));
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return issue("broadcast", () -> {
            if (tensor.bytes() > 0) {
                communicator.broadcast(tensor.address(), tensor.bytes(), root);
            }
        });
    }

    /** Awaited, it holds up the thread: it orders what hosts do. */
    @Override
    public Pending barrier() {
        CommunicationStream.Operation operation = issue("barrier", hostSums::meet);
        return operation::awaitOnHost;
    }

    @Override
    public Pending exchange(List<Move> outgoing, List<Move> incoming) {
        List<Communicator.Move> moves = new ArrayList<>();
        outgoing.forEach(move -> moves.add(new Communicator.Move(
                true, move.peer(), move.tensor().address(), move.tensor().bytes())));
        incoming.forEach(move -> moves.add(new Communicator.Move(
                false, move.peer(), move.tensor().address(), move.tensor().bytes())));
        List<Communicator.Move> within =
                moves.stream().filter(move -> move.peer() == rank).toList();
        int pairs = within.size() / 2;
        for (int k = 0; k < pairs; k++) {
            Communicator.Move from = within.get(k), to = within.get(pairs + k);
            require(
                    from.send() && !to.send() && from.bytes() == to.bytes(),
                    "rank %d moves %d bytes to %d of its own",
                    rank,
                    from.bytes(),
                    to.bytes());
        }
        return issue("exchange", () -> {
            for (int k = 0; k < pairs; k++) {
                stream.copy(
                        within.get(pairs + k).address(),
                        within.get(k).address(),
                        within.get(k).bytes());
            }
            communicator.move(moves.stream().filter(move -> move.peer() != rank).toList());
        });
    }

    @Override
    public double[] sum(double... values) {
        double[] sums = new double[values.length];
        int most = hostSums.most();
        for (int at = 0; at < values.length; at += most) {
            int count = Math.min(most, values.length - at);
            double[] part = Arrays.copyOfRange(values, at, at + count);
            issue("sum", () -> hostSums.issue(part)).awaitOnHost();
            System.arraycopy(hostSums.sums(count), 0, sums, at, count);
        }
        return sums;
    }

    /** Issues an operation after what the compute stream was given; one that cannot be issued fails when it is awaited. */
    private CommunicationStream.Operation issue(String name, Runnable body) {
        if (closed) {
            failure.set("the group is closed");
        }
        CommunicationStream.Mark ready = null;
        if (failure.reason() == null) {
            try {
                ready = stream.afterCompute();
                body.run();
            } catch (CollectiveException | CudaException e) {
                failure.set(e.getMessage());
                watcher.wake();
            }
        }
        CommunicationStream.Operation operation = stream.new Operation() {
            @Override
            protected RuntimeException failure() {
                return failure.of(name);
            }
        };
        if (failure.reason() == null) {
            operation.issued();
            watcher.add(name, ready, operation);
        } else if (ready != null) {
            ready.release();
        }
        return operation;
    }

    @Override
    public void abort(String reason) {
        failure.set(reason);
        watcher.wake();
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        boolean free = watcher.close();
        stream.removeGuard(guard);
        if (free) {
            shared.close();
            workspace.close();
            pinned.close();
        }
    }
}
