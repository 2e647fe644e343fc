package org.shardloom.coordinator.run;

/**
 * A worker as the coordinator knows it.
 *
 * @param id for the whole run
 * @param rank in the current generation, or -1
 */
public record WorkerInfo(int id, String host, String hostKey, long pid, String device, int rank) {
    WorkerInfo withRank(int newRank) {
        return new WorkerInfo(id, host, hostKey, pid, device, newRank);
    }
}
