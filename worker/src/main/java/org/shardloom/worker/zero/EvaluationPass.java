package org.shardloom.worker.zero;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.Prefix;

/** The forward pass of a batch, without gradients. Used by the engine's thread. */
final class EvaluationPass {
    /** No block of {@link #firstNonFinite}. */
    static final int ALL_FINITE = -1;

    /** Is shown what a block computes, which is overwritten afterwards. */
    @FunctionalInterface
    private interface Observer {
        void output(int block, Tensor output);
    }

    private final Decoder decoder;
    private final BlockStore blocks;
    private final Device device;
    private final DType dtype;
    private final int head;
    private final boolean tied;

    EvaluationPass(Decoder decoder, BlockStore blocks, Device device, DType dtype) {
        this.decoder = decoder;
        this.blocks = blocks;
        this.device = device;
        this.dtype = dtype;
        this.head = decoder.model().blockCount() - 1;
        this.tied = decoder.config().tiedEmbeddings();
    }

    /** Sum of the losses of a batch, without gradients. Every rank must call it equally often; null takes part with nothing. */
    double run(PackedBatch batch) {
        return walk(batch, 0, null);
    }

    /**
     * The first block, prefix block included, whose output for the batch is not finite; that of the head is the loss. Every rank must call
     * it equally often; null takes part with nothing.
     *
     * @param dropoutKey of the micro-batch, as in training
     * @return {@link #ALL_FINITE} if there is none
     */
    int firstNonFinite(PackedBatch batch, long dropoutKey) {
        int[] first = {ALL_FINITE};
        double loss = walk(batch, dropoutKey, (block, output) -> {
            if (first[0] == ALL_FINITE && !isFinite(output)) {
                first[0] = block;
            }
        });
        return first[0] == ALL_FINITE && !Double.isFinite(loss) ? head : first[0];
    }

    private boolean isFinite(Tensor tensor) {
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor wide = work.allocate(DType.F32, tensor.shape());
            device.ops().convert(wide, tensor);
            for (float value : Inputs.toFloats(device, wide)) {
                if (!Float.isFinite(value)) {
                    return false;
                }
            }
            return true;
        }
    }

    /** Shows the observer, where there is one, the outputs of all blocks but the head. */
    private double walk(PackedBatch batch, long dropoutKey, Observer observer) {
        boolean observed = batch != null && observer != null;
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            Prefix prefix = null;
            int prefixBlock = decoder.model().prefixBlock();
            BatchOnDevice inputs = batch == null ? null : decoder.inputs(kept, batch, false);
            if (!blocks.isEmpty(prefixBlock)) {
                BlockView p = blocks.gather(prefixBlock);
                prefix = batch == null ? null : decoder.prefix(p, batch, dtype, false, kept);
                if (observed) {
                    observer.output(prefixBlock, decoder.prefixKeysValues(p, dtype, kept));
                }
                blocks.release(prefixBlock);
            }
            Tensor x = batch == null
                    ? null
                    : kept.allocate(
                            dtype, inputs.host().tokens(), decoder.config().hidden());
            Tensor y = batch == null
                    ? null
                    : kept.allocate(
                            dtype, inputs.host().tokens(), decoder.config().hidden());
            BlockView embedding = blocks.gather(0);
            if (batch != null) {
                decoder.embed(embedding, inputs, x);
            }
            if (observed) {
                observer.output(0, x);
            }
            blocks.release(0);
            for (int b = 1; b < head; b++) {
                BlockView p = blocks.gather(b);
                blocks.prefetch(b + 1);
                if (batch != null) {
                    try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
                        decoder.layer(p, new LayerCall(b - 1, inputs, prefix, dropoutKey), x, scope, y);
                    }
                    Tensor swap = x;
                    x = y;
                    y = swap;
                }
                if (observed) {
                    observer.output(b, x);
                }
                blocks.release(b);
            }
            BlockView p = blocks.gather(head);
            BlockView output = tied ? blocks.gather(0) : null;
            double loss = batch == null ? 0 : decoder.loss(p, output, inputs, x);
            blocks.release(head);
            blocks.release(0);
            return loss;
        }
    }
}
