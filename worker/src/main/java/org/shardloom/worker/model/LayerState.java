package org.shardloom.worker.model;

import java.util.HashMap;
import java.util.Map;
import org.shardloom.kernels.tensor.Tensor;

/** What a layer's forward keeps for its backward. With recomputation only {@link #input} is kept. */
public final class LayerState {
    /** [T, H] */
    public final Tensor input;
    /** [T, qkv width], rotated. */
    Tensor qkv;
    /** [T, heads * headSize] */
    Tensor context;
    /** fp32 [T, heads] */
    Tensor logSums;
    /** [T, H]: input + attention output. */
    Tensor middle;
    /** [T, 2F] */
    Tensor gateUp;
    /** scale * A dropout(x) of adapters, fp32 [T, rank]. */
    final Map<LoraSite, Tensor> inner = new HashMap<>();

    LayerState(Tensor input) {
        this.input = input;
    }
}
