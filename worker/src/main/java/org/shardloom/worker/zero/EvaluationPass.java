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

    /** What a rank computes on its way through the blocks. */
    private final class Work {
        final Memory kept;
        final PackedBatch batch;
        final long dropoutKey;
        final Observer observer;
        final Attempt attempt = new Attempt();
        BatchOnDevice inputs;
        Prefix prefix;
        Tensor x;
        Tensor y;
        double loss;

        Work(Memory kept, PackedBatch batch, long dropoutKey, Observer observer) {
            this.kept = kept;
            this.batch = batch;
            this.dropoutKey = dropoutKey;
            this.observer = observer;
        }

        void prefix(BlockView p) {
            prefix = decoder.prefix(p, batch, dtype, false, kept);
            if (observer != null) {
                observer.output(decoder.model().prefixBlock(), prefix.made());
            }
        }

        void embed(BlockView embedding) {
            inputs = decoder.inputs(kept, batch, false);
            x = kept.allocate(dtype, inputs.host().tokens(), decoder.config().hidden());
            y = kept.allocate(dtype, inputs.host().tokens(), decoder.config().hidden());
            decoder.embed(embedding, inputs, x);
            show(0);
        }

        void layer(int block, BlockView p) {
            try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
                decoder.layer(p, new LayerCall(block - 1, inputs, prefix, dropoutKey), x, scope, y);
            }
            Tensor swap = x;
            x = y;
            y = swap;
            show(block);
        }

        private void show(int block) {
            if (observer != null) {
                observer.output(block, x);
            }
        }
    }

    /**
     * Shows the observer, where there is one, the outputs of all blocks but the head. What a rank fails with is thrown when all blocks have
     * been gathered: the others must not wait for it.
     */
    private double walk(PackedBatch batch, long dropoutKey, Observer observer) {
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            Work work = batch == null ? null : new Work(kept, batch, dropoutKey, observer);
            Attempt.together(() -> walk(work));
            if (work == null) {
                return 0;
            }
            work.attempt.check();
            return work.loss;
        }
    }

    private void walk(Work work) {
        int prefixBlock = decoder.model().prefixBlock();
        if (!blocks.isEmpty(prefixBlock)) {
            BlockView p = blocks.gather(prefixBlock);
            if (work != null) {
                work.attempt.part(() -> work.prefix(p));
            }
            blocks.release(prefixBlock);
        }
        BlockView embedding = blocks.gather(0);
        if (work != null) {
            work.attempt.part(() -> work.embed(embedding));
        }
        blocks.release(0);
        for (int b = 1; b < head; b++) {
            int block = b;
            BlockView p = blocks.gather(b);
            blocks.prefetch(b + 1);
            if (work != null) {
                work.attempt.part(() -> work.layer(block, p));
            }
            blocks.release(b);
        }
        BlockView p = blocks.gather(head);
        BlockView output = tied ? blocks.gather(0) : null;
        if (work != null) {
            work.attempt.part(() -> work.loss = decoder.loss(p, output, work.inputs, work.x));
        }
        blocks.release(head);
        blocks.release(0);
    }
}
