package org.shardloom.worker.zero;

import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.OptimizerConfig;

/**
 * What an engine is told.
 *
 * @param dtype of parameters and activations
 * @param zeroStage 2 or 3
 * @param recompute keep one input per layer and run its forward again in backward
 * @param maxGradNorm longest gradient applied whole; 0 never clips
 * @param maxPositions longest sequence
 */
public record EngineConfig(
        DType dtype,
        int zeroStage,
        boolean recompute,
        OptimizerConfig optimizer,
        double maxGradNorm,
        int maxPositions) {}
