package org.shardloom.protocol.plan;

import java.util.stream.IntStream;

/**
 * Which micro-batches of a step a rank takes. A step's samples are cut into micro-batches in sample order, whatever the world size; they
 * are dealt to the ranks in turn, one a round, so that gradients, summed by round and within a round by rank, are always summed in
 * sample order: the sum is the same, bit for bit, on any number of ranks.
 *
 * @param microBatches of the step
 * @param worldSize number of ranks
 * @param rank whose share it is
 */
public record StepShares(int microBatches, int worldSize, int rank) {
    /** How often every rank takes part in the collectives: the largest number of micro-batches of any rank. */
    public int rounds() {
        return (microBatches + worldSize - 1) / worldSize;
    }

    /** Indices within the step of the rank's micro-batches, one for each round that it has one in. */
    public int[] own() {
        return IntStream.iterate(rank, m -> m < microBatches, m -> m + worldSize)
                .toArray();
    }
}
