package org.shardloom.deploy.bench;

import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.plan.PlanCollectives;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.ZeroEngine;

/** What a step has to compute: the engine takes one on paper. */
final class ModelFlops {
    private ModelFlops() {}

    /**
     * Multiplications and additions of the matrix products of one rank's step, with those of attention between tokens that see each other: two
     * forward, and five backward, which computes the scores again. Nothing else that is recomputed counts: this is what model FLOP utilisation
     * (MFU) holds against a card's peak. Of weights that are not trained there are no gradients
     * to compute.
     */
    static double ofStep(BenchModel model) {
        EngineConfig config = model.with(null, null, false, null).engine();
        int tokens = model.tokens();
        PackedBatch batch = new PackedBatch(
                new int[tokens],
                IntStream.range(0, tokens).map(t -> t % model.sequence()).toArray(),
                IntStream.rangeClosed(0, model.microBatch())
                        .map(s -> s * model.sequence())
                        .toArray(),
                IntStream.range(0, tokens).toArray(),
                new int[tokens]);
        try (PlanDevice device = new PlanDevice();
                PlanCollectives group = new PlanCollectives(0, 1, device, true);
                ZeroEngine engine = new ZeroEngine(model.tuned(), config, device, group)) {
            engine.publishMaster();
            device.work().reset();
            engine.step(new StepInput(
                    Collections.nCopies(1, batch), List.of((double) tokens), Collections.nCopies(1, 1L), 1, 1e-4));
            return device.work().matrixFlops();
        }
    }
}
