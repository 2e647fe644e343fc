package org.shardloom.deploy.launch;

import java.io.IOException;

/** How the process of a worker is started. */
interface WorkerCommandLine {
    /**
     * Starts the process for the worker, its output going where the builder that it is given sends it.
     *
     * @param coordinator address to join, host:port
     * @param output for the command and its environment to be added
     * @throws IOException when it cannot be started; the message is for people
     */
    Process start(int workerId, String coordinator, ProcessBuilder output) throws IOException;

    /** The worker's process has ended, or was told to; may be said twice. */
    default void ended(int workerId) {}
}
