package org.shardloom.worker.zero;

/** Work in parts of which none is begun after one that failed: a rank that fails goes on taking part in what all ranks do. */
final class Attempt {
    private RuntimeException failure;

    /** Does a part, unless one before has failed. */
    void part(Runnable work) {
        if (failure == null) {
            try {
                work.run();
            } catch (RuntimeException e) {
                failure = e;
            }
        }
    }

    /** Throws what a part failed with. */
    void check() {
        if (failure != null) {
            throw failure;
        }
    }
}
