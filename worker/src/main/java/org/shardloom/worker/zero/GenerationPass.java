package org.shardloom.worker.zero;

import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.PrefixTable;

/**
 * Forward passes of new tokens over sharded parameters, with a cache of the tokens before them. Blocks are gathered by all ranks, so who has
 * nothing to {@link #extend} must {@link #serve} the others. Used by the engine's thread.
 */
public final class GenerationPass {
    private final Decoder decoder;
    private final BlockStore blocks;
    private final Device device;
    private final Collectives group;
    private final DType dtype;
    private final int head;
    private final boolean tied;

    GenerationPass(Decoder decoder, BlockStore blocks, Device device, Collectives group, DType dtype) {
        this.decoder = decoder;
        this.blocks = blocks;
        this.device = device;
        this.group = group;
        this.dtype = dtype;
        this.head = decoder.model().blockCount() - 1;
        this.tied = decoder.config().tiedEmbeddings();
    }

    /** The keys and values of a trained prefix, for {@link #newCache}; null where there is none. Every rank must call it. */
    public Tensor prefix(Memory memory) {
        int block = decoder.model().prefixBlock();
        if (blocks.isEmpty(block)) {
            return null;
        }
        Attempt attempt = new Attempt();
        PrefixTable[] made = new PrefixTable[1];
        Attempt.together(() -> {
            BlockView p = blocks.gather(block);
            attempt.part(() -> made[0] = decoder.prefixTable(p, dtype, memory));
            blocks.release(block);
            for (int b = 1; b < head && decoder.model().adapters().prefixProjection(); b++) {
                int layer = b - 1;
                BlockView of = blocks.gather(b);
                attempt.part(() -> made[0].fill(layer, of));
                blocks.release(b);
            }
        });
        attempt.check();
        return made[0] == null ? null : made[0].keysValues();
    }

    /** Room for sequences on this rank; whoever asks closes it. */
    public KeyValueCache newCache(int slots, int capacity, Tensor prefix) {
        int tokens = capacity + decoder.model().adapters().virtualTokens();
        return new KeyValueCache(decoder.config(), device, dtype, slots, tokens, prefix);
    }

    /** Bytes of cache that a token of a sequence takes. */
    public long cacheBytesPerToken() {
        return decoder.config().layers() * decoder.config().attention().cacheWidth() * dtype.bytes;
    }

    /**
     * Adds tokens to sequences of the cache.
     *
     * @return fp32 logits after the last token of each
     */
    public float[][] extend(KeyValueCache cache, int[] slots, List<int[]> tokens) {
        PackedBatch batch = cache.batch(
                slots,
                tokens,
                decoder.config().markers(),
                decoder.model().adapters().virtualTokens());
        int[] counts = IntStream.range(0, slots.length)
                .map(i -> batch.starts()[i + 1] - batch.starts()[i])
                .toArray();
        int[] last = IntStream.range(0, slots.length)
                .map(i -> batch.starts()[i + 1] - 1)
                .toArray();
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            KeyValueCache.Extension extension = cache.extend(scope, slots, counts);
            Work work = new Work(scope, batch, extension, last);
            Attempt.together(() -> {
                group.sum(1); // the others hear of it once this rank is sure to take part
                walk(work);
            });
            work.attempt.check();
            extension.commit();
            return work.logits;
        }
    }

    /** This rank has no more to continue: it takes part with nothing to compute until the others have none either. Every rank must call it. */
    public void serve() {
        while (group.sum(0)[0] > 0) {
            Attempt.together(() -> walk(null));
        }
    }

    /** What a rank computes. After a failure it goes on with nothing: the others must not wait for it. */
    private final class Work {
        final Memory scope;
        final BatchOnDevice inputs;
        final KeyValueCache.Extension cache;
        final int[] rows;
        Tensor x;
        Tensor y;
        final Attempt attempt = new Attempt();
        float[][] logits;

        Work(Memory scope, PackedBatch batch, KeyValueCache.Extension cache, int[] rows) {
            this.scope = scope;
            this.inputs = decoder.inputs(scope, batch, false);
            this.cache = cache;
            this.rows = rows;
        }

        void embed(BlockView embedding) {
            x = scope.allocate(dtype, inputs.host().tokens(), decoder.config().hidden());
            y = scope.allocate(dtype, inputs.host().tokens(), decoder.config().hidden());
            decoder.embed(embedding, inputs, x);
        }

        void layer(int block, BlockView p) {
            try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
                decoder.layer(p, new LayerCall(block - 1, inputs, cache.layer(block - 1)), x, kept, y);
            }
            Tensor swap = x;
            x = y;
            y = swap;
        }

        void head(BlockView p, BlockView embedding) {
            IndexTensor indices = Inputs.indices(device, scope, rows);
            float[] flat = Inputs.toFloats(device, decoder.logits(p, embedding, x, indices, scope));
            int width = decoder.config().vocabulary();
            float[][] found = new float[rows.length][width];
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(flat, i * width, found[i], 0, width);
            }
            logits = found;
        }
    }

    private void walk(Work work) {
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
            work.attempt.part(() -> work.head(p, output));
        }
        blocks.release(head);
        blocks.release(0);
    }
}
