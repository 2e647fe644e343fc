package org.shardloom.worker.zero;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.collective.shm.ShmCollectives;

/** Ranks as threads of this process, with real shared-memory collectives between them. */
public final class Ranks {
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private Ranks() {}

    /** What one rank does. */
    @FunctionalInterface
    public interface Work<T> {
        T run(int rank, Collectives group) throws Exception;
    }

    /** Results by rank. When a rank fails the others' collectives are aborted, and the first failure is thrown. */
    public static <T> List<T> run(int world, Work<T> work) throws Exception {
        Meeting meeting = new Meeting();
        Collectives[] groups = new Collectives[world];
        return parallel(world, rank -> {
            groups[rank] = join(meeting.of("ranks", rank, world), rank, world);
            try (Collectives group = groups[rank]) {
                return work.run(rank, group);
            } catch (Exception | AssertionError e) {
                meeting.abort("rank " + rank + " failed: " + e);
                for (Collectives group : groups) {
                    if (group != null) {
                        group.abort("rank " + rank + " failed: " + e);
                    }
                }
                throw e;
            }
        });
    }

    private static Collectives join(Rendezvous rendezvous, int rank, int world) {
        return world == 1 ? new LocalCollectives() : ShmCollectives.join(rendezvous, rank, world, PATIENCE);
    }

    /** What one thread does. */
    @FunctionalInterface
    public interface Task<T> {
        T run(int index) throws Exception;
    }

    /** Results of as many threads by index; throws what failed first by cause: aborted collectives count last. */
    public static <T> List<T> parallel(int count, Task<T> task) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        try {
            List<Future<T>> futures = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                int index = i;
                futures.add(threads.submit(() -> task.run(index)));
            }
            List<T> results = new ArrayList<>();
            Throwable failure = null;
            for (Future<T> future : futures) {
                try {
                    results.add(future.get());
                } catch (ExecutionException e) {
                    failure = failure == null || failure instanceof CollectiveException ? e.getCause() : failure;
                }
            }
            if (failure instanceof Exception e) {
                throw e;
            } else if (failure != null) {
                throw (Error) failure;
            }
            return results;
        } finally {
            threads.shutdownNow();
        }
    }

    /** A rendezvous in memory. */
    public static final class Meeting {
        private final Map<String, byte[][]> offers = new HashMap<>();
        private String aborted;

        /** For a member of the group of that name. */
        public Rendezvous of(String group, int rank, int size) {
            return (key, offer) -> exchange(group + "/" + key, rank, size, offer);
        }

        private synchronized List<byte[]> exchange(String key, int rank, int size, byte[] offer) {
            byte[][] all = offers.computeIfAbsent(key, k -> new byte[size][]);
            all[rank] = offer;
            notifyAll();
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (!complete(all)) {
                if (aborted != null || System.nanoTime() > deadline) {
                    throw new CollectiveException(aborted != null ? aborted : "nobody came to " + key);
                }
                try {
                    wait(100);
                } catch (InterruptedException e) {
                    throw new CollectiveException("interrupted");
                }
            }
            return List.of(all);
        }

        private static boolean complete(byte[][] all) {
            for (byte[] offer : all) {
                if (offer == null) {
                    return false;
                }
            }
            return true;
        }

        /** Nobody else comes. */
        public synchronized void abort(String reason) {
            aborted = reason;
            notifyAll();
        }
    }
}
