package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.CollectiveException;

/** Work in parts of which none is begun after one that failed: a rank that fails goes on taking part in what all ranks do. */
final class Attempt {
    private Throwable failure;

    /** Does a part, unless one before has failed. */
    void part(Runnable work) {
        if (failure == null) {
            try {
                work.run();
            } catch (RuntimeException | Error e) {
                failure = e;
            }
        }
    }

    /** Throws what a part failed with. */
    void check() {
        if (failure instanceof Error e) {
            throw e;
        }
        if (failure != null) {
            throw (RuntimeException) failure;
        }
    }

    /**
     * Does what all ranks do together. A rank that fails in it has not done its part, and what it did next would meet what others do now:
     * it is of no use to the group any more.
     *
     * @throws CollectiveException whatever goes wrong
     */
    static void together(Runnable work) {
        try {
            work.run();
        } catch (CollectiveException e) {
            throw e;
        } catch (RuntimeException | Error e) {
            throw new CollectiveException("this rank could not take part in what all ranks do: " + e, e);
        }
    }
}
