package org.shardloom.protocol.plan;

/**
 * Which micro-batches of a step a rank takes. A step's samples are cut into micro-batches in sample order, whatever the world
 * size; a rank takes consecutive ones, the first ranks one more where they do not divide evenly.
 *
 * @param first index within the step of the rank's first micro-batch
 * @param count number of the rank's micro-batches
 * @param rounds the largest count of any rank: how often every rank takes part in the collectives
 */
public record StepShares(int first, int count, int rounds) {
    /** The share of one rank. */
    public static StepShares of(int microBatches, int worldSize, int rank) {
        int even = microBatches / worldSize;
        int more = microBatches % worldSize;
        return new StepShares(
                even * rank + Math.min(rank, more), even + (rank < more ? 1 : 0), even + (more > 0 ? 1 : 0));
    }
}
