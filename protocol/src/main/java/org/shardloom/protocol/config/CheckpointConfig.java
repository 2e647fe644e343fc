package org.shardloom.protocol.config;

/**
 * When checkpoints are written and which are kept.
 *
 * @param everySteps steps between checkpoints; 0 writes only the final model
 * @param keepLast how many of the newest are kept, at least 1
 * @param keepBest how many of those with the lowest evaluation loss are kept besides
 */
public record CheckpointConfig(int everySteps, int keepLast, int keepBest) {}
