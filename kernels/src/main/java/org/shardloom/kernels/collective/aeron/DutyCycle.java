package org.shardloom.kernels.collective.aeron;

import java.util.concurrent.locks.ReentrantLock;
import org.agrona.concurrent.AgentInvoker;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;

/**
 * Turns the media driver: it sends, receives and keeps its links alive only while somebody does. While a step is under way that is
 * the collectives' own thread, so that no byte waits for another thread to be woken, and ranks that outnumber the processors do not
 * take turns at looking for work. In between it is a thread that looks once a millisecond, more often while there is something to do.
 */
final class DutyCycle implements AutoCloseable {
    private static final int MAX_TURNS = 64;
    private final AgentInvoker driver;
    private final ReentrantLock turning = new ReentrantLock();
    private final Thread keeper;
    private volatile boolean closing;

    DutyCycle(AgentInvoker driver) {
        this.driver = driver;
        this.keeper = new Thread(this::keep, "aeron");
        keeper.setDaemon(true);
        keeper.start();
    }

    private void keep() {
        IdleStrategy idle = new BackoffIdleStrategy(0, 5, 50_000, 1_000_000);
        while (!closing) {
            turning.lock();
            int work;
            try {
                work = turn(MAX_TURNS);
            } finally {
                turning.unlock();
            }
            idle.idle(work);
        }
    }

    /** From now on the calling thread turns the driver, until it calls {@link #end}. */
    void begin() {
        turning.lock();
    }

    /** Sends what was written last, as far as the peers take it now, and leaves the driver to the background. */
    void end() {
        try {
            turn(MAX_TURNS);
        } finally {
            turning.unlock();
        }
    }

    /**
     * Between {@link #begin} and {@link #end}: sends and receives what there is.
     *
     * @param most turns, in each of which the driver takes one packet and gives one to each peer
     * @return 0 when there was nothing to do
     */
    int turn(int most) {
        int work = 0;
        int last = 1;
        for (int i = 0; i < most && last > 0; i++) {
            last = driver.invoke();
            work += last;
        }
        return work;
    }

    @Override
    public void close() {
        closing = true;
        boolean interrupted = false;
        while (keeper.isAlive()) {
            try {
                keeper.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
