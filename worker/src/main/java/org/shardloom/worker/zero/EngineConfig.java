package org.shardloom.worker.zero;

import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.config.SpikeConfig;

/**
 * What an engine is told.
 *
 * @param dtype of parameters and activations
 * @param zeroStage 2 or 3
 * @param recompute keep one input per layer and run its forward again in backward
 * @param maxGradNorm longest gradient applied whole; 0 never clips
 * @param maxPositions longest sequence
 * @param spike what is done about a step that is unlike those before
 * @param placement where optimizer state and parameters are kept
 * @param singleRound whether no rank has several micro-batches in a step
 */
public record EngineConfig(
        DType dtype,
        int zeroStage,
        boolean recompute,
        OptimizerConfig optimizer,
        double maxGradNorm,
        int maxPositions,
        SpikeConfig spike,
        Placement placement,
        boolean singleRound) {

    /** Whether nothing needs the norm of all gradients before it updates the first unit: neither clipping, nor the guard, nor a loss scale. */
    boolean updatesUnitsAsTheyCome() {
        return !spike.needsNorm(maxGradNorm) && dtype != DType.F16;
    }

    /** With steps as they come, of any number of rounds. */
    public EngineConfig(
            DType dtype,
            int zeroStage,
            boolean recompute,
            OptimizerConfig optimizer,
            double maxGradNorm,
            int maxPositions) {
        this(
                dtype,
                zeroStage,
                recompute,
                optimizer,
                maxGradNorm,
                maxPositions,
                new SpikeConfig(SpikeConfig.Action.IGNORE, 100),
                Placement.OFFLOADED_OPTIMIZER,
                false);
    }
}
