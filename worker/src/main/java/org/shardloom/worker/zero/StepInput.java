package org.shardloom.worker.zero;

import java.util.List;
import org.shardloom.worker.model.PackedBatch;

/**
 * A rank's share of an optimizer step.
 *
 * @param microBatches of this rank, in sample order
 * @param divisors of each micro-batch's summed loss: target tokens of the step, or its own times the number of micro-batches
 * @param rounds the largest number of micro-batches of any rank
 * @param learningRate of this step
 */
public record StepInput(List<PackedBatch> microBatches, List<Double> divisors, int rounds, double learningRate) {}
