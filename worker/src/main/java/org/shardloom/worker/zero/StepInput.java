package org.shardloom.worker.zero;

import java.util.Collections;
import java.util.List;
import org.shardloom.worker.model.PackedBatch;

/**
 * A rank's share of an optimizer step.
 *
 * @param microBatches of this rank, in sample order
 * @param divisors of each micro-batch's summed loss: target tokens of the step, or its own times the number of micro-batches
 * @param dropoutKeys of each micro-batch: a function of the seed and of its place in the run, whichever rank computes it; 0 for no dropout
 * @param rounds the largest number of micro-batches of any rank
 * @param learningRate of this step
 */
public record StepInput(
        List<PackedBatch> microBatches,
        List<Double> divisors,
        List<Long> dropoutKeys,
        int rounds,
        double learningRate) {
    /** A step without dropout. */
    public StepInput(List<PackedBatch> microBatches, List<Double> divisors, int rounds, double learningRate) {
        this(microBatches, divisors, Collections.nCopies(microBatches.size(), 0L), rounds, learningRate);
    }
}
