package org.shardloom.protocol.message;

/**
 * A worker's place in a generation.
 *
 * @param workerId of the worker, for the whole run
 * @param host address that the worker's tensors are reached at; workers with one {@code hostKey} share memory
 * @param hostKey tells hosts apart
 * @param oldRank rank in the generation before, or -1
 * @param rank in this generation, or -1 for one that leaves
 */
public record Member(int workerId, String host, String hostKey, int oldRank, int rank) {}
