package org.shardloom.protocol.config;

/**
 * How the run's processes find and watch each other.
 *
 * @param insecure whether processes may talk over a network without TLS
 * @param host address that the coordinator listens on
 * @param port port that the coordinator listens on; 0 takes a free one
 * @param allowReplacement whether a replacement is started for a lost worker
 * @param minWorkers the run fails when fewer workers are left
 * @param heartbeatSeconds how often members tell each other that they live
 * @param lostAfterSeconds silence after which a member is taken for lost; at least two heartbeats
 * @param joinTimeoutSeconds how long the coordinator waits for the workers it needs
 * @param collectiveTimeoutSeconds how long one operation of all ranks may take
 */
public record ClusterConfig(
        boolean insecure,
        String host,
        int port,
        boolean allowReplacement,
        int minWorkers,
        double heartbeatSeconds,
        double lostAfterSeconds,
        double joinTimeoutSeconds,
        double collectiveTimeoutSeconds) {

    /** What holds where no job file says otherwise; {@code JobKeys} has the same values. */
    public static ClusterConfig defaults() {
        return new ClusterConfig(false, "127.0.0.1", 0, true, 1, 1, 10, 120, 1800);
    }
}
