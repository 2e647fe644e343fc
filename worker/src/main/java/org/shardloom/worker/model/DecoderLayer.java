package org.shardloom.worker.model;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * One transformer layer: out = m + down(swiglu(gate_up(norm2(m)))), m = x + output(attention(rotary(qkv(norm1(x))))).
 *
 * <p>Backward recomputes the norms and the product of gate and up, which cost a pass over memory, rather than keep them.
 */
final class DecoderLayer {
    private final DecoderConfig config;
    private final Device device;
    private final Ops ops;
    private final AttentionShape shape;

    DecoderLayer(DecoderConfig config, Device device) {
        this.config = config;
        this.device = device;
        this.ops = device.ops();
        this.shape = config.attention();
    }

    /**
     * Runs the layer.
     *
     * @param state filled with what backward needs, in memory of {@code kept}
     * @param out [T, H]; null when only the state is wanted
     */
    void forward(UnitView p, BatchOnDevice batch, Tensor rotary, LayerState state, Memory kept, Tensor out) {
        Tensor x = state.input;
        long tokens = x.rows();
        DType type = x.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor inverse = work.allocate(DType.F32, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            ops.rmsNorm(normed, inverse, null, x, null, p.get("norm1.weight"), config.normEpsilon());
            state.qkv = kept.allocate(type, tokens, shape.qkvWidth());
            ops.linear(state.qkv, normed, p.get("qkv.weight"));
            ops.rotary(state.qkv, config.qkvBias() ? p.get("qkv.bias") : null, rotary, batch.positions(), shape);
            state.context = kept.allocate(type, tokens, shape.contextWidth());
            state.logSums = kept.allocate(DType.F32, tokens, shape.heads());
            ops.attention(state.context, state.logSums, state.qkv, batch.starts(), shape);
            state.middle = kept.allocate(type, tokens, config.hidden());
            ops.linear(normed, state.context, p.get("attention.output.weight"));
            ops.rmsNorm(normed, inverse, state.middle, x, normed, p.get("norm2.weight"), config.normEpsilon());
            state.gateUp = kept.allocate(type, tokens, 2L * config.feedForward());
            ops.linear(state.gateUp, normed, p.get("gate_up.weight"));
            if (out != null) {
                Tensor activated = work.allocate(type, tokens, config.feedForward());
                ops.swiglu(activated, state.gateUp);
                ops.linear(normed, activated, p.get("down.weight"));
                ops.add(out, state.middle, normed);
            }
        }
    }

    /**
     * Runs the layer backward.
     *
     * @param g receives the gradients, overwritten
     * @param grad [T, H] gradient of the output; replaced by the gradient of the input
     */
    void backward(UnitView p, UnitView g, BatchOnDevice batch, Tensor rotary, LayerState state, Tensor grad) {
        long tokens = grad.rows();
        DType type = grad.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor inverse = work.allocate(DType.F32, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            Tensor gradNormed = work.allocate(type, tokens, config.hidden());

            try (Memory wide = device.memory(Purpose.WORKSPACE)) {
                Tensor activated = wide.allocate(type, tokens, config.feedForward());
                ops.swiglu(activated, state.gateUp);
                ops.linearBackwardWeight(g.get("down.weight"), grad, activated, false);
                ops.linearBackwardInput(activated, grad, p.get("down.weight"), false);
                ops.swigluBackward(state.gateUp, activated, state.gateUp);
            }
            ops.rmsNorm(normed, inverse, null, state.middle, null, p.get("norm2.weight"), config.normEpsilon());
            ops.linearBackwardWeight(g.get("gate_up.weight"), state.gateUp, normed, false);
            ops.linearBackwardInput(gradNormed, state.gateUp, p.get("gate_up.weight"), false);
            ops.rmsNormBackward(
                    grad, g.get("norm2.weight"), false, gradNormed, state.middle, inverse, p.get("norm2.weight"), grad);

            Tensor gradContext = work.allocate(type, tokens, shape.contextWidth());
            Tensor gradQkv = work.allocate(type, tokens, shape.qkvWidth());
            ops.linearBackwardWeight(g.get("attention.output.weight"), grad, state.context, false);
            ops.linearBackwardInput(gradContext, grad, p.get("attention.output.weight"), false);
            ops.attentionBackward(gradQkv, gradContext, state.context, state.logSums, state.qkv, batch.starts(), shape);
            ops.rotaryBackward(gradQkv, rotary, batch.positions(), shape);
            if (config.qkvBias()) {
                ops.columnSum(g.get("qkv.bias"), gradQkv, false);
            }
            ops.rmsNorm(normed, inverse, null, state.input, null, p.get("norm1.weight"), config.normEpsilon());
            ops.linearBackwardWeight(g.get("qkv.weight"), gradQkv, normed, false);
            ops.linearBackwardInput(gradNormed, gradQkv, p.get("qkv.weight"), false);
            ops.rmsNormBackward(
                    grad, g.get("norm1.weight"), false, gradNormed, state.input, inverse, p.get("norm1.weight"), grad);
        }
    }
}
