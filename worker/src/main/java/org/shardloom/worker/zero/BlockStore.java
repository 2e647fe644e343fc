package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitView;

/** The parameters and gradients of a model's blocks: what {@link ParameterStore} and {@link GradientStore} hold by unit. */
final class BlockStore {
    private final TunedModel model;
    private final ParameterStore parameters;
    private final GradientStore gradients;
    private final int[][] unitsOf;
    private final int[] trained;

    /**
     * Over the two.
     *
     * @param gradients null where only forward passes are made
     */
    BlockStore(TunedModel model, ParameterStore parameters, GradientStore gradients) {
        this.model = model;
        this.parameters = parameters;
        this.gradients = gradients;
        this.unitsOf = new int[model.blockCount() + 1][];
        for (int b = 0; b < unitsOf.length; b++) {
            unitsOf[b] = model.unitsOf(b);
        }
        this.trained = model.trainedIndices();
    }

    /** Whether the block has no units. */
    boolean isEmpty(int block) {
        return unitsOf[block].length == 0;
    }

    /** The block's parameters, gathered until {@link #release}. */
    BlockView gather(int block) {
        List<UnitView> parts = new ArrayList<>();
        for (int u : unitsOf[block]) {
            parts.add(new UnitView(model.units().get(u), parameters.gather(u)));
        }
        return new BlockView(parts);
    }

    void prefetch(int block) {
        for (int u : unitsOf[block]) {
            parameters.prefetch(u);
        }
    }

    void release(int block) {
        for (int u : unitsOf[block]) {
            parameters.release(u);
        }
    }

    /** Buffers for the gradients of what is trained of the block, free for writing. */
    BlockView gradients(int block, PhaseTimer timer) {
        String phase = timer.begin("communication");
        List<UnitView> parts = new ArrayList<>();
        for (int u : unitsOf[block]) {
            if (trained[u] >= 0) {
                parts.add(new UnitView(model.units().get(u), gradients.acquire(trained[u])));
            }
        }
        timer.begin(phase);
        return new BlockView(parts);
    }

    /** Starts the reduce-scatter of the block's gradients; {@code nothing} takes part with nothing to add. */
    void reduce(int block, boolean nothing) {
        for (int u : unitsOf[block]) {
            if (trained[u] >= 0) {
                gradients.reduce(trained[u], nothing);
            }
        }
    }
}
