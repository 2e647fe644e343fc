package org.shardloom.kernels.collective;

import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A rendezvous for ranks that are threads of one process. */
public final class Meeting {
    private final int size;
    private final long timeoutNanos;
    private final Map<String, byte[][]> tables = new HashMap<>();

    public Meeting(int size, Duration timeout) {
        this.size = size;
        this.timeoutNanos = timeout.toNanos();
    }

    public Rendezvous of(int rank) {
        return (key, offer) -> exchange(key, rank, offer);
    }

    private synchronized List<byte[]> exchange(String key, int rank, byte[] offer) {
        byte[][] table = tables.computeIfAbsent(key, k -> new byte[size][]);
        table[rank] = offer;
        notifyAll();
        long deadline = System.nanoTime() + timeoutNanos;
        while (Arrays.asList(table).contains(null)) {
            long left = (deadline - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                throw new CollectiveException("not all ranks came to the rendezvous");
            }
            try {
                wait(left);
            } catch (InterruptedException e) {
                throw new CollectiveException("interrupted", e);
            }
        }
        return List.of(table);
    }
}
