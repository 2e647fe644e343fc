package org.shardloom.worker.model;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The attention of a layer, output(attention(rotary(qkv(x)))), with a trained prefix where there is one. */
final class LayerAttention {
    private final DecoderConfig config;
    private final Device device;
    private final Ops ops;
    private final Linears linears;
    private final AttentionShape shape;

    LayerAttention(DecoderConfig config, Device device, Linears linears) {
        this.config = config;
        this.device = device;
        this.ops = device.ops();
        this.linears = linears;
        this.shape = config.attention();
    }

    /**
     * Runs it.
     *
     * @param out [T, H]; may be normed
     * @param normed [T, H]
     * @param kept memory for what the state keeps
     */
    void forward(BlockView p, LayerCall call, Tensor rotary, Tensor out, Tensor normed, LayerState state, Memory kept) {
        DType type = normed.dtype();
        Prefix prefix = call.prefix();
        long tokens = normed.rows();
        long rows = prefix == null ? tokens : prefix.rows();
        state.qkv = kept.allocate(type, rows, shape.qkvWidth());
        state.context = kept.allocate(type, rows, shape.contextWidth());
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor qkv = prefix == null ? state.qkv : work.allocate(type, tokens, shape.qkvWidth());
            linears.forward(p, "qkv.weight", call, qkv, normed, state, kept);
            ops.rotary(
                    qkv,
                    config.qkvBias() ? p.get("qkv.bias") : null,
                    rotary,
                    call.batch().positions(),
                    shape);
            KeyValueCache.Layer cache = call.cache();
            if (cache != null) {
                ops.attentionWithCache(
                        state.context,
                        cache.rows(),
                        state.qkv,
                        call.batch().starts(),
                        cache.contexts(),
                        cache.starts(),
                        cache.past(),
                        shape);
            } else if (prefix == null) {
                state.logSums = kept.allocate(DType.F32, rows, shape.heads());
                ops.attention(
                        state.context,
                        state.logSums,
                        state.qkv,
                        call.batch().starts(),
                        call.batch().contexts(),
                        shape);
            } else {
                state.logSums = kept.allocate(DType.F32, rows, shape.heads());
                prefix.insert(state.qkv, qkv, call.layer(), p);
                ops.attention(state.context, state.logSums, state.qkv, prefix.starts(), prefix.contexts(), shape);
            }
            linears.forward(
                    p,
                    "attention.output.weight",
                    call,
                    out,
                    tokensOf(state.context, prefix, tokens, work),
                    state,
                    kept);
        }
    }

    /**
     * Runs it backward.
     *
     * @param gradNormed [T, H] receives the gradient of the input; null where nobody needs it
     * @param grad [T, H] of the output
     * @param normed [T, H] as it was in forward
     */
    void backward(
            BlockView p,
            BlockView g,
            LayerCall call,
            Tensor rotary,
            Tensor gradNormed,
            Tensor grad,
            Tensor normed,
            LayerState state) {
        DType type = grad.dtype();
        Prefix prefix = call.prefix();
        long tokens = grad.rows();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor context = tokensOf(state.context, prefix, tokens, work);
            Tensor gradContext = work.allocate(type, tokens, shape.contextWidth());
            linears.backward(p, g, "attention.output.weight", call, gradContext, grad, context, state);
            Tensor gradQkv = work.allocate(type, tokens, shape.qkvWidth());
            if (prefix == null) {
                ops.attentionBackward(
                        gradQkv,
                        gradContext,
                        state.context,
                        state.logSums,
                        state.qkv,
                        call.batch().starts(),
                        call.batch().contexts(),
                        shape);
            } else {
                Tensor gradLonger = work.allocate(type, prefix.rows(), shape.contextWidth());
                Tensor gradLongerQkv = work.allocate(type, prefix.rows(), shape.qkvWidth());
                prefix.spread(gradLonger, gradContext);
                ops.attentionBackward(
                        gradLongerQkv,
                        gradLonger,
                        state.context,
                        state.logSums,
                        state.qkv,
                        prefix.starts(),
                        prefix.contexts(),
                        shape);
                prefix.addGradient(gradLongerQkv, call.layer(), p, g);
                prefix.pick(gradQkv, gradLongerQkv);
            }
            ops.rotaryBackward(gradQkv, rotary, call.batch().positions(), shape);
            Tensor gradBias = config.qkvBias() ? g.find("qkv.bias") : null;
            if (gradBias != null) {
                ops.columnSum(gradBias, gradQkv, false);
            }
            linears.backward(p, g, "qkv.weight", call, gradNormed, gradQkv, normed, state);
        }
    }

    private Tensor tokensOf(Tensor context, Prefix prefix, long tokens, Memory memory) {
        if (prefix == null) {
            return context;
        }
        Tensor picked = memory.allocate(context.dtype(), tokens, context.columns());
        prefix.pick(picked, context);
        return picked;
    }
}
