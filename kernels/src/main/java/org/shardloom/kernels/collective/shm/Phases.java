package org.shardloom.kernels.collective.shm;

import java.util.Arrays;

/**
 * How the ranks keep step. A phase is: put data in place, {@link #begin}, which posts the phase and waits for the peers' posts, read
 * theirs, {@link #done}. Data may be overwritten once every peer is done with the phase that it was for. Used by one thread, but for
 * {@link #abort}.
 */
final class Phases {
    private final int rank;
    private final Mailbox[] mailboxes;
    private volatile long timeoutNanos;
    private int phase;

    Phases(int rank, Mailbox[] mailboxes, long timeoutNanos) {
        this.rank = rank;
        this.mailboxes = mailboxes;
        this.timeoutNanos = timeoutNanos;
    }

    int rank() {
        return rank;
    }

    int size() {
        return mailboxes.length;
    }

    /** How long a wait for a peer lasts from now on before it fails. */
    void limit(long nanos) {
        timeoutNanos = nanos;
    }

    /**
     * Posts the next phase and waits until every peer has posted it.
     *
     * @param arguments up to 4, for the peers to read
     */
    void begin(long... arguments) {
        phase++;
        mailboxes[rank].post(phase, arguments);
        for (int r = 0; r < mailboxes.length; r++) {
            if (r != rank) {
                mailboxes[r].awaitPosted(phase, mailboxes[rank], timeoutNanos, "rank " + r);
            }
        }
    }

    /** What the rank posted with the current phase. */
    long argument(int r, int index) {
        return mailboxes[r].argument(phase, index);
    }

    /** Says that this rank has read what the peers posted for the current phase. */
    void done() {
        mailboxes[rank].done(phase);
    }

    /** Waits until every peer is done with the current phase. */
    void awaitDone() {
        awaitDone(phase);
    }

    /** Waits until every peer is done with the phase before the current one: the other half of this rank's window is free. */
    void awaitPreviousDone() {
        awaitDone(phase - 1);
    }

    /** Ends an operation: all ranks are done with all that was posted. */
    void finish() {
        done();
        awaitDone();
    }

    private void awaitDone(int number) {
        for (int r = 0; r < mailboxes.length; r++) {
            if (r != rank) {
                mailboxes[r].awaitDone(number, mailboxes[rank], timeoutNanos, "rank " + r);
            }
        }
    }

    /** Ends every wait, of this rank and of the peers: without this rank they would wait in vain. Any thread. */
    void abort() {
        Arrays.stream(mailboxes).forEach(Mailbox::abort);
    }
}
