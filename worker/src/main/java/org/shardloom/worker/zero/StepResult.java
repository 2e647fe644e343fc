package org.shardloom.worker.zero;

import java.util.Map;

/**
 * What a step did.
 *
 * @param loss of the whole step, over all ranks
 * @param gradNorm global L2 norm before clipping; infinite or NaN when the step was skipped
 * @param applied false when an fp16 overflow or the guard skipped the update
 * @param seconds of this rank by phase: forward, backward, communication, optimizer
 */
public record StepResult(double loss, double gradNorm, boolean applied, Map<String, Double> seconds) {}
