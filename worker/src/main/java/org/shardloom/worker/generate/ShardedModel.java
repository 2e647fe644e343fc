package org.shardloom.worker.generate;

import java.util.List;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.zero.GenerationPass;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * The model that is being trained, for generation on all ranks at once: each continues sequences of its own, and gathers blocks for the
 * others as long as one of them has something to do.
 */
public final class ShardedModel implements TokenModel {
    private final ZeroEngine engine;
    private final GenerationPass pass;
    private final Tensor prefix;
    private final int positions;

    /**
     * Over an engine.
     *
     * @param prefix as {@link GenerationPass#prefix} gave it
     * @param positions longest sequence
     */
    public ShardedModel(ZeroEngine engine, Tensor prefix, int positions) {
        this.engine = engine;
        this.pass = engine.generation();
        this.prefix = prefix;
        this.positions = positions;
    }

    @Override
    public DecoderConfig config() {
        return engine.model().config();
    }

    @Override
    public Adapters adapters() {
        return engine.model().adapters();
    }

    @Override
    public int positions() {
        return positions;
    }

    @Override
    public long cacheBytesPerToken() {
        return pass.cacheBytesPerToken();
    }

    @Override
    public KeyValueCache newCache(int slots, int capacity) {
        return pass.newCache(slots, capacity, prefix);
    }

    @Override
    public float[][] extend(KeyValueCache cache, int[] slots, List<int[]> tokens) {
        tokens.forEach(this::check);
        return pass.extend(cache, slots, tokens);
    }

    /** This rank has no more to continue: it serves the others until they have none either. Every rank must call it. */
    public void serve() {
        pass.serve();
    }
}
