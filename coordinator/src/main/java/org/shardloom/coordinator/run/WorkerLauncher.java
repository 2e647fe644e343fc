package org.shardloom.coordinator.run;

import java.util.function.BiConsumer;

/** Starts worker processes on this host. Implemented where the command line is known. */
public interface WorkerLauncher {
    /**
     * Starts a process for the worker.
     *
     * @param coordinator address to join, host:port
     * @param onExit called with the worker's id and how its process ended, from any thread
     */
    void launch(int workerId, String coordinator, BiConsumer<Integer, String> onExit);

    /** Ends the worker's process at once, if it runs on this host. */
    void kill(int workerId);

    /** Ends every process at once. */
    void killAll();

    /** Number of processes that are still there. */
    int running();
}
