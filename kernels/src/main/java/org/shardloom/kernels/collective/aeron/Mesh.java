package org.shardloom.kernels.collective.aeron;

import io.aeron.ExclusivePublication;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.shardloom.kernels.collective.CollectiveException;

/**
 * Links to every peer, and the one loop that moves messages over all of them. Used by one thread at a time.
 *
 * <p>Sending and receiving take turns and neither waits, so ranks that all send at once do not block each other. A link whose
 * message of this step has come is left alone until the next step: what the peer sends ahead stays in Aeron's buffers, and its flow
 * control holds the peer back.
 */
final class Mesh implements AutoCloseable {
    private static final long FAREWELL_NS = 1_000_000_000;
    private static final long ABORT_LINGER_NS = 50_000_000;
    /** Of the driver between two looks at the links. */
    private static final int TURNS = 4;

    private final int rank;
    private final EmbeddedDriver driver;
    private final Offer[] offers;
    private final int[] sessions;
    private final List<Link> links = new ArrayList<>();
    private final long timeoutNanos;
    private final IdleStrategy idle = new BackoffIdleStrategy(50, 20, 1_000, 500_000);
    private int step;
    private boolean failed;

    /**
     * Opens the streams to the peers.
     *
     * @param offers of all ranks, by rank
     * @param timeoutNanos after which a step in which nothing moves has failed
     */
    Mesh(int rank, EmbeddedDriver driver, Offer[] offers, GroupKey key, long timeoutNanos) {
        this.rank = rank;
        this.driver = driver;
        this.offers = offers;
        this.timeoutNanos = timeoutNanos;
        int size = offers.length;
        this.sessions = new int[size];
        Set<Integer> members = new HashSet<>();
        for (int r = 0; r < size; r++) {
            sessions[r] = key.session(r);
            members.add(sessions[r]);
        }
        driver.admit(members);
        // Each rank begins with the one after it, so that they do not all send to rank 0 first.
        for (int i = 1; i < size; i++) {
            int peer = (rank + i) % size;
            links.add(new Link(rank, peer, open(peer), key));
        }
    }

    private ExclusivePublication open(int peer) {
        try {
            return driver.publish(
                    offers[peer].host(), offers[peer].port(), sessions[rank], offers[rank].mtuWith(offers[peer]));
        } catch (RuntimeException e) {
            throw new CollectiveException(
                    "no way to rank " + peer + " at " + offers[peer].host() + ": " + e.getMessage(), e);
        }
    }

    /**
     * Waits until every peer and this rank have proved to each other that they hold the secret.
     *
     * @param abortReason gives null as long as the group is wanted
     */
    void greet(Supplier<String> abortReason) {
        long deadline = System.nanoTime() + timeoutNanos;
        while (true) {
            boolean all = true;
            for (Link link : links) {
                if (!link.hasImage()) {
                    link.attach(driver.image(sessions[link.peer()]));
                }
                all &= link.greet();
            }
            if (all) {
                return;
            }
            String reason = abortReason.get();
            if (reason != null) {
                throw new CollectiveException(
                        reason + ": given up while waiting for " + names(link -> !link.greet()) + " to come");
            }
            if (System.nanoTime() - deadline > 0) {
                throw new CollectiveException(names(link -> !link.greet())
                        + " did not come within " + seconds() + ", or does not hold the group's secret ("
                        + strangers() + " strange sessions or frames were ignored)");
            }
            LockSupport.parkNanos(500_000);
        }
    }

    /**
     * Sends and receives one message or none per peer, all at once.
     *
     * @param name of the operation, for errors and to tell ranks that are out of step
     * @param out by peer; null: nothing goes to that peer
     * @param in by peer; null: nothing comes from that peer
     * @param abortReason gives null as long as the group is wanted
     */
    void step(String name, Message[] out, Message[] in, Supplier<String> abortReason) {
        step++;
        for (Link link : links) {
            link.begin(step, name, out[link.peer()], in[link.peer()]);
        }
        driver.dutyCycle().begin();
        try {
            move(name, abortReason);
        } finally {
            driver.dutyCycle().end();
        }
    }

    private void move(String name, Supplier<String> abortReason) {
        idle.reset();
        long lastMoved = System.nanoTime();
        while (true) {
            int moved = 0;
            boolean complete = true;
            for (Link link : links) {
                moved += link.send() + link.receive();
                complete &= link.isComplete();
                if (link.trouble() != null) {
                    throw failure("rank " + link.peer() + " " + link.trouble(), name);
                }
            }
            if (complete) {
                return;
            }
            if (abortReason.get() != null) {
                throw failure("aborted while waiting for " + names(link -> !link.isComplete()), name);
            }
            if (moved > 0) {
                lastMoved = System.nanoTime();
            } else if (System.nanoTime() - lastMoved > timeoutNanos) {
                boolean receiving = links.stream().anyMatch(Link::isReceiving);
                throw failure(
                        names(receiving ? Link::isReceiving : link -> !link.isComplete()) + " did not answer within "
                                + seconds(),
                        name);
            }
            idle.idle(moved + driver.dutyCycle().turn(TURNS));
        }
    }

    private CollectiveException failure(String what, String name) {
        failed = true;
        return new CollectiveException(what + " (" + name + ", step " + step + ")");
    }

    private String names(Predicate<Link> which) {
        return links.stream()
                .filter(which)
                .map(link -> "rank " + link.peer())
                .sorted()
                .collect(Collectors.joining(", "));
    }

    private String seconds() {
        return timeoutNanos / 1e9 + " s";
    }

    /** Sessions that are not of the group, and frames in its sessions that no member made. */
    long strangers() {
        return driver.strangers() + links.stream().mapToLong(Link::dropped).sum();
    }

    /** Tells the peers that this rank gives the group up. */
    void abort(String reason) {
        failed = true;
        links.forEach(link -> link.sendAbort(reason));
    }

    /**
     * Leaves in good order: waits until all is sent, which for more than a window's worth means that the peers have read most of it,
     * and then a little for the peers' own farewells, which say that they have read the rest. (A peer that closes later still finds
     * what its driver has received.)
     *
     * @param abortReason gives null as long as waiting makes sense
     */
    void leave(Supplier<String> abortReason) {
        await(timeoutNanos, abortReason, link -> link.isDeserted() || driver.hasSent(link.publication()));
        await(Math.min(timeoutNanos, FAREWELL_NS), abortReason, Link::part);
    }

    private void await(long limitNanos, Supplier<String> abortReason, Predicate<Link> done) {
        long deadline = System.nanoTime() + limitNanos;
        boolean all = false;
        while (!all && abortReason.get() == null && System.nanoTime() - deadline < 0) {
            all = true;
            for (Link link : links) {
                all &= done.test(link);
            }
            if (!all) {
                LockSupport.parkNanos(500_000);
            }
        }
    }

    @Override
    public void close() {
        if (failed) {
            LockSupport.parkNanos(ABORT_LINGER_NS);
        }
        links.forEach(link -> link.publication().close());
        driver.hangUp();
        driver.close();
    }
}
