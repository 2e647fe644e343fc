package org.shardloom.kernels.collective.nccl;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.nccl;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A communicator whose calls do not block: each is followed until NCCL has taken it, within the time limit and as long as nothing has
 * failed. What it has taken runs in the communication stream. Calls take turns; an abort waits for its turn only so long.
 *
 * <p>The calls that end a communicator do block, and some have been known not to come back (NVIDIA/nccl#992). They are made on a thread of
 * their own, and where one takes too long the device is lost: nobody knows what still runs on it.
 */
final class Communicator {
    private static final int MAGIC = 0xcafebeef;
    private static final int UNDEFINED = Integer.MIN_VALUE;
    /** Between ncclGroupStart and ncclGroupEnd. */
    private static final int MOST_MOVES = 2048;

    private static final int AWAKE = 100;
    private static final long PAUSE_NANOS = 20_000;
    private static final long ABORT_PATIENCE_MILLIS = 1000;
    /** How long a call that ends a communicator may take. */
    static final long PARTING_MILLIS = 10_000;

    private static final Logger LOG = LoggerFactory.getLogger(Communicator.class);

    private final ncclComm handle = new ncclComm();
    private final ReentrantLock turn = new ReentrantLock();
    private final int size;
    private final Failure failure;
    private final CommunicationStream stream;
    private final CUstream_st nativeStream;
    private final long limitNanos;
    private volatile boolean gone;
    /** A call that was to end it has not come back. */
    private volatile boolean stuck;

    private Communicator(int size, Failure failure, CommunicationStream stream, Duration timeout) {
        this.size = size;
        this.failure = failure;
        this.stream = stream;
        this.limitNanos = timeout.toNanos();
        nativeStream = new Handles.StreamAddress(stream.handle());
    }

    /** An id for a group, of which one rank asks for one. */
    static byte[] newId() {
        try (Handles.Scratch memory = new Handles.Scratch(ncclUniqueId.class)) {
            ncclUniqueId id = new Handles.Id(memory);
            int result = nccl.ncclGetUniqueId(id);
            if (result != nccl.ncclSuccess) {
                throw new CollectiveException("ncclGetUniqueId: " + NcclLibrary.text(result) + lastError(null));
            }
            byte[] bytes = new byte[nccl.NCCL_UNIQUE_ID_BYTES];
            id.internal().get(bytes);
            return bytes;
        }
    }

    /**
     * Connects the ranks.
     *
     * @throws CollectiveException where that fails, takes longer than the limit or is given up; nothing is left then
     */
    static Communicator connect(
            byte[] id, int rank, int size, CommunicationStream stream, Duration timeout, Failure failure) {
        Communicator communicator = new Communicator(size, failure, stream, timeout);
        stream.enter();
        try (Handles.Scratch idMemory = new Handles.Scratch(ncclUniqueId.class);
                Handles.Scratch configMemory = new Handles.Scratch(ncclConfig_t.class)) {
            ncclUniqueId unique = new Handles.Id(idMemory);
            ncclConfig_t config = new Handles.Config(configMemory);
            unique.internal().put(id);
            config.size(Pointer.sizeof(ncclConfig_t.class)).magic(MAGIC).version(nccl.NCCL_VERSION_CODE);
            config.blocking(0).cgaClusterSize(UNDEFINED).minCTAs(UNDEFINED).maxCTAs(UNDEFINED);
            config.netName(null).splitShare(UNDEFINED);
            communicator.call(
                    () -> "ncclCommInitRankConfig of rank " + rank + " of " + size,
                    () -> nccl.ncclCommInitRankConfig(communicator.handle, size, unique, rank, config));
            return communicator;
        } catch (RuntimeException e) {
            communicator.abort();
            throw e;
        }
    }

    void allGather(long to, long from, long bytes) {
        call(
                () -> "ncclAllGather of " + bytes + " bytes from each of " + size + " ranks",
                () -> nccl.ncclAllGather(pointer(from), pointer(to), bytes, nccl.ncclInt8, handle, nativeStream));
    }

    void broadcast(long address, long bytes, int root) {
        Pointer operand = pointer(address);
        call(
                () -> "ncclBroadcast of " + bytes + " bytes from rank " + root,
                () -> nccl.ncclBroadcast(operand, operand, bytes, nccl.ncclInt8, root, handle, nativeStream));
    }

    /** to: fp32 [n], from: fp32 [size * n]. */
    void reduceScatter(long to, long from, long n) {
        call(
                () -> "ncclReduceScatter of " + n + " fp32 to each of " + size + " ranks",
                () -> nccl.ncclReduceScatter(
                        pointer(from), pointer(to), n, nccl.ncclFloat32, nccl.ncclSum, handle, nativeStream));
    }

    /** fp32 [n], in place. */
    void allReduce(long address, long n) {
        Pointer operand = pointer(address);
        call(
                () -> "ncclAllReduce of " + n + " fp32 over " + size + " ranks",
                () -> nccl.ncclAllReduce(operand, operand, n, nccl.ncclFloat32, nccl.ncclSum, handle, nativeStream));
    }

    /** Bytes to or from a peer. */
    record Move(boolean send, int peer, long address, long bytes) {}

    /**
     * Moves that all go on at once, in order between a pair; those of no bytes are left out, as the peer leaves them out. NCCL takes only so
     * many at a time: of more, both sides of a pair make the same rounds.
     */
    void move(List<Move> moves) {
        Map<Boolean, int[]> made = Map.of(true, new int[size], false, new int[size]);
        List<List<Move>> rounds = new ArrayList<>();
        int most = Math.max(1, MOST_MOVES / 2 / size);
        for (Move move : moves) {
            if (move.bytes > 0) {
                int round = made.get(move.send)[move.peer]++ / most;
                if (round == rounds.size()) {
                    rounds.add(new ArrayList<>());
                }
                rounds.get(round).add(move);
            }
        }
        rounds.forEach(this::moveAtOnce);
    }

    private void moveAtOnce(List<Move> moves) {
        call(() -> "ncclGroupEnd of " + text(moves), () -> {
            int result = nccl.ncclGroupStart();
            if (result != nccl.ncclSuccess) {
                return result;
            }
            for (Move move : moves) {
                if (result == nccl.ncclSuccess) {
                    result = one(move);
                    result = result == nccl.ncclInProgress ? nccl.ncclSuccess : result;
                }
            }
            int end = nccl.ncclGroupEnd();
            return result == nccl.ncclSuccess ? end : result;
        });
    }

    private static String text(List<Move> moves) {
        return moves.stream()
                .map(m -> m.bytes + " bytes " + (m.send ? "to" : "from") + " rank " + m.peer)
                .collect(Collectors.joining(", "));
    }

    private int one(Move move) {
        Pointer operand = pointer(move.address);
        return move.send
                ? nccl.ncclSend(operand, move.bytes, nccl.ncclInt8, move.peer, handle, nativeStream)
                : nccl.ncclRecv(operand, move.bytes, nccl.ncclInt8, move.peer, handle, nativeStream);
    }

    private static Pointer pointer(long address) {
        return new Handles.Address(address);
    }

    /** Issues one call and follows it until NCCL has taken it. */
    private void call(Supplier<String> name, IntSupplier body) {
        call(name, limitNanos, body);
    }

    private void call(Supplier<String> name, long nanos, IntSupplier body) {
        turn.lock();
        try {
            check(name);
            stream.enter();
            long deadline = System.nanoTime() + nanos;
            int result = body.getAsInt();
            for (int tries = 0; result == nccl.ncclInProgress; tries++) {
                check(name);
                if (System.nanoTime() > deadline) {
                    throw failed(name, "has not ended within " + nanos / 1_000_000 + " ms");
                }
                // Most calls are taken within microseconds; connecting takes longer.
                if (tries > AWAKE) {
                    LockSupport.parkNanos(PAUSE_NANOS);
                }
                result = state();
            }
            if (result != nccl.ncclSuccess) {
                throw failed(name, "failed: " + NcclLibrary.text(result) + lastError(handle));
            }
        } finally {
            turn.unlock();
        }
    }

    private void check(Supplier<String> name) {
        if (failure.reason() != null) {
            throw failure.of(name.get());
        }
    }

    /** The call in full is part of the reason. */
    private CollectiveException failed(Supplier<String> name, String what) {
        failure.set(name.get() + " on " + stream.device() + " " + what);
        return failure.of("NCCL");
    }

    /** The state NCCL says the communicator is in. */
    private int state() {
        int[] state = new int[1];
        int result = nccl.ncclCommGetAsyncError(handle, state);
        return result == nccl.ncclSuccess ? state[0] : result;
    }

    /** What NCCL has noticed by itself, as one line; null where there is nothing, or it is in the middle of a call. */
    String noticed() {
        if (!turn.tryLock()) {
            return null;
        }
        try {
            stream.enter();
            int state = gone ? nccl.ncclSuccess : state();
            return state == nccl.ncclSuccess || state == nccl.ncclInProgress
                    ? null
                    : NcclLibrary.text(state) + lastError(handle);
        } finally {
            turn.unlock();
        }
    }

    private static String lastError(ncclComm handle) {
        BytePointer text = nccl.ncclGetLastError(handle);
        String line = text == null || text.isNull()
                ? ""
                : text.getString().strip().lines().findFirst().orElse("");
        return line.isEmpty() ? "" : ": " + line;
    }

    /**
     * Gives it back when all that was issued is over.
     *
     * @return whether nothing of it is left; else the device is lost
     * @throws CollectiveException where NCCL refuses, or something has failed meanwhile: it is to be aborted then
     */
    boolean close() {
        long limit = Math.min(limitNanos, TimeUnit.MILLISECONDS.toNanos(PARTING_MILLIS));
        call(() -> "ncclCommFinalize", limit, () -> nccl.ncclCommFinalize(handle));
        turn.lock();
        try {
            gone = true;
            return ends("ncclCommDestroy", () -> nccl.ncclCommDestroy(handle));
        } finally {
            turn.unlock();
        }
    }

    /**
     * Ends what is under way, and the communicator. Somebody who is held up in a call does not keep it from that.
     *
     * @return whether nothing of it is left; else the device is lost
     */
    boolean abort() {
        boolean own = false;
        try {
            own = turn.tryLock(ABORT_PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        try {
            if (gone || handle.isNull()) {
                return !stuck;
            }
            gone = true;
            return ends("ncclCommAbort", () -> nccl.ncclCommAbort(handle));
        } finally {
            if (own) {
                turn.unlock();
            }
        }
    }

    /** Makes a call that may not come back, on a thread that is left behind then; whether it has. An interrupt is kept for later. */
    private boolean ends(String name, IntSupplier body) {
        CompletableFuture<Integer> answer = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        stream.enter();
                        answer.complete(body.getAsInt());
                    } catch (RuntimeException | Error e) {
                        answer.completeExceptionally(e);
                    }
                },
                name);
        thread.setDaemon(true);
        thread.start();
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PARTING_MILLIS);
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    int result = answer.get(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
                    if (result != nccl.ncclSuccess && result != nccl.ncclInProgress) {
                        LOG.warn("{}: {}: {}", stream.device(), name, NcclLibrary.text(result));
                    }
                    return true;
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } catch (ExecutionException e) {
            // The device itself has failed: nothing runs any more.
            LOG.warn("{}: {} could not be called: {}", stream.device(), name, String.valueOf(e.getCause()));
            return true;
        } catch (TimeoutException e) {
            String why = stream.device() + ": " + name + " has not come back within " + PARTING_MILLIS + " ms";
            LOG.warn(why);
            stuck = true;
            failure.set(why);
            stream.lose(why);
            return false;
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
