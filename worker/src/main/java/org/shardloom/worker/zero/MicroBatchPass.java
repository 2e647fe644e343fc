package org.shardloom.worker.zero;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.LayerState;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.Prefix;
import org.shardloom.worker.model.TunedModel;

/**
 * Forward and backward of one micro-batch, block by block: parameters are gathered before a block is used, those of the next prefetched
 * meanwhile, and gradients are reduced behind it. Backward ends at the lowest block that is trained. A rank without a micro-batch goes
 * through the same collectives with nothing to compute. Used by the engine's thread.
 */
final class MicroBatchPass {
    private final Decoder decoder;
    private final TunedModel model;
    private final BlockStore blocks;
    private final Device device;
    private final DType dtype;
    private final boolean recompute;
    private final int head;
    private final int lowest;
    private final boolean tied;

    MicroBatchPass(Decoder decoder, BlockStore blocks, Device device, EngineConfig config) {
        this.decoder = decoder;
        this.model = decoder.model();
        this.blocks = blocks;
        this.device = device;
        this.dtype = config.dtype();
        this.recompute = config.recompute();
        this.head = model.blockCount() - 1;
        this.lowest = model.lowestTrainedBlock();
        this.tied = model.config().tiedEmbeddings();
    }

    /** What a rank computes with while it goes through the blocks. */
    private final class Work implements AutoCloseable {
        final Memory kept;
        final BatchOnDevice inputs;
        final float scale;
        final long dropoutKey;
        final LayerState[] states = new LayerState[head];
        final Memory[] scopes = new Memory[head];
        Prefix prefix;
        Tensor x;
        LossSum loss;

        Work(Memory kept, PackedBatch batch, double scale, long dropoutKey) {
            this.kept = kept;
            this.inputs = decoder.inputs(kept, batch, true);
            this.scale = (float) scale;
            this.dropoutKey = dropoutKey;
        }

        LayerCall call(int block) {
            return new LayerCall(block - 1, inputs, prefix, dropoutKey, block > lowest, null);
        }

        void layer(int block, BlockView p) {
            Tensor out = newStream();
            boolean keep = block >= lowest;
            scopes[block] = device.memory(Purpose.ACTIVATIONS);
            states[block] = decoder.layer(p, call(block), x, scopes[block], out);
            if (recompute || !keep) {
                scopes[block].close();
            }
            if (!keep) {
                kept.free(x);
            }
            x = out;
        }

        void layerBackward(int block, BlockView p, BlockView g) {
            decoder.layerBackward(p, g, call(block), states[block], x);
            scopes[block].close();
            kept.free(states[block].input);
        }

        void recompute(int block, BlockView p) {
            scopes[block] = device.memory(Purpose.ACTIVATIONS);
            states[block] = decoder.layer(p, call(block), states[block].input, scopes[block], null);
        }

        Tensor newStream() {
            return kept.allocate(dtype, inputs.host().tokens(), decoder.config().hidden());
        }

        /** Where a collective failed half-way, some are open still. */
        @Override
        public void close() {
            for (Memory scope : scopes) {
                if (scope != null) {
                    scope.close();
                }
            }
            if (loss != null) {
                loss.close();
            }
        }
    }

    /**
     * Runs a micro-batch.
     *
     * @param scale of the gradients: loss scale / divisor of the loss
     * @param dropoutKey of the micro-batch, the same on whatever rank it runs
     * @return sum of the losses
     */
    double run(PackedBatch batch, double scale, long dropoutKey, PhaseTimer timer) {
        timer.forward();
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            Work work = new Work(kept, batch, scale, dropoutKey);
            try {
                walk(work, timer);
                return work.loss == null ? 0 : work.loss.await();
            } finally {
                work.close();
            }
        }
    }

    /** Issues what a micro-batch issues to the group. */
    void idle(PhaseTimer timer) {
        timer.begin("communication");
        walk(null, timer);
    }

    private void walk(Work work, PhaseTimer timer) {
        int prefixBlock = model.prefixBlock();
        if (!blocks.isEmpty(prefixBlock)) {
            BlockView p = blocks.gather(prefixBlock);
            if (work != null) {
                work.prefix = decoder.prefix(p, work.inputs.host(), dtype, true, work.kept);
            }
            blocks.release(prefixBlock);
        }
        forward(work);
        headStep(work, timer);
        for (int b = head - 1; b >= Math.max(1, lowest); b--) {
            layerStep(b, work, timer);
        }
        if (lowest == 0) {
            embeddingStep(work, timer);
        }
        if (!blocks.isEmpty(prefixBlock)) {
            BlockView p = blocks.gather(prefixBlock);
            BlockView g = work == null ? null : blocks.gradients(prefixBlock, timer);
            if (work != null) {
                decoder.prefixBackward(p, g, work.prefix);
            }
            blocks.reduce(prefixBlock, work == null);
            blocks.release(prefixBlock);
        }
    }

    private void forward(Work work) {
        BlockView embedding = blocks.gather(0);
        if (work != null) {
            work.x = work.newStream();
            decoder.embed(embedding, work.inputs, work.x);
        }
        blocks.release(0); // the largest unit of many a model, and soon done with: nothing is gathered beside it
        for (int b = 1; b < head; b++) {
            BlockView p = blocks.gather(b);
            blocks.prefetch(b + 1);
            if (work != null) {
                work.layer(b, p);
            }
            blocks.release(b);
        }
        if (tied) {
            blocks.prefetch(0); // the largest unit of many a model: it is not kept while the layers need the room
        }
    }

    private void headStep(Work work, PhaseTimer timer) {
        BlockView p = blocks.gather(head);
        BlockView embedding = tied ? blocks.gather(0) : null;
        BlockView g = work == null ? null : blocks.gradients(head, timer);
        BlockView embeddingGrad = tied && lowest == 0 && work != null ? zeroed(blocks.gradients(0, timer)) : null;
        if (head - 1 >= lowest && !tied) {
            blocks.prefetch(head - 1);
        }
        if (work != null) {
            Tensor losses = decoder.lossesAndGradients(
                    p, embedding, g, embeddingGrad, work.inputs, work.x, work.scale, work.kept, timer);
            work.loss = losses == null ? null : new LossSum(device, losses);
        }
        blocks.reduce(head, work == null);
        blocks.release(head);
        if (tied) {
            blocks.release(0);
        }
    }

    private void layerStep(int block, Work work, PhaseTimer timer) {
        BlockView p = blocks.gather(block);
        if (block > Math.max(1, lowest)) {
            blocks.prefetch(block - 1);
        }
        if (work != null && recompute) {
            work.recompute(block, p);
        }
        BlockView g = work == null ? null : blocks.gradients(block, timer);
        if (work != null) {
            work.layerBackward(block, p, g);
        }
        blocks.reduce(block, work == null);
        blocks.release(block);
    }

    /** With tied weights the head has filled the same gradient before. */
    private void embeddingStep(Work work, PhaseTimer timer) {
        if (work != null) {
            BlockView g = blocks.gradients(0, timer);
            decoder.embedBackward(tied ? g : zeroed(g), work.inputs, work.x);
        }
        blocks.reduce(0, work == null);
        blocks.release(0);
    }

    private BlockView zeroed(BlockView gradients) {
        gradients.parts().forEach(part -> device.ops().zero(part.flat()));
        return gradients;
    }
}
