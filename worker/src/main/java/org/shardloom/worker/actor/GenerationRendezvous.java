package org.shardloom.worker.actor;

import akka.actor.typed.ActorRef;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.WorkerMessage;

/** Meetings of one generation, through the coordinator. The engine's thread waits; the actor delivers. Thread-safe. */
final class GenerationRendezvous {
    private final ActorRef<CoordinatorMessage> coordinator;
    private final long generation;
    private final int workerId;
    private final Duration timeout;
    private final Map<String, CompletableFuture<List<byte[]>>> waiting = new HashMap<>();
    private final AbortSignal signal;

    GenerationRendezvous(
            ActorRef<CoordinatorMessage> coordinator,
            long generation,
            int workerId,
            Duration timeout,
            AbortSignal signal) {
        this.coordinator = coordinator;
        this.generation = generation;
        this.workerId = workerId;
        this.timeout = timeout;
        this.signal = signal;
        signal.onAbort(this::abort);
    }

    /** For the groups of a generation: {@code movers}, which is all its members, and {@code ranks}. */
    Function<String, Rendezvous> groups(List<Member> members) {
        int own = IntStream.range(0, members.size())
                .filter(i -> members.get(i).workerId() == workerId)
                .findFirst()
                .orElseThrow();
        int ranks = (int) members.stream().filter(member -> member.rank() >= 0).count();
        return group -> group.equals("movers")
                ? of(group, own, members.size())
                : of(group, members.get(own).rank(), ranks);
    }

    /** For the group of that name, in which this worker has the rank. */
    private Rendezvous of(String group, int rank, int size) {
        return (key, offer) -> exchange(group + "/" + key, rank, size, offer);
    }

    private List<byte[]> exchange(String key, int rank, int size, byte[] offer) {
        CompletableFuture<List<byte[]>> result = new CompletableFuture<>();
        synchronized (this) {
            signal.check();
            waiting.put(key, result);
        }
        coordinator.tell(new CoordinatorMessage.RendezvousOffer(generation, workerId, key, rank, size, offer));
        try {
            return result.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            throw new CollectiveException(
                    "not all " + size + " ranks came to meet within " + timeout.toSeconds() + " s");
        } catch (ExecutionException e) {
            throw new CollectiveException(e.getCause().getMessage(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CollectiveException("interrupted while meeting the other ranks");
        }
    }

    synchronized void deliver(WorkerMessage.RendezvousResult result) {
        CompletableFuture<List<byte[]>> future = waiting.remove(result.key());
        if (future != null) {
            future.complete(result.offers());
        }
    }

    private synchronized void abort(String reason) {
        waiting.values().forEach(future -> future.completeExceptionally(new CollectiveException(reason)));
        waiting.clear();
    }
}
