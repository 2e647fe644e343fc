package org.shardloom.worker.model;

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
final class DecoderLayer implements Layer {
    private final DecoderConfig config;
    private final Device device;
    private final Ops ops;
    private final Linears linears;
    private final LayerAttention attention;

    DecoderLayer(DecoderConfig config, Adapters adapters, Device device) {
        this.config = config;
        this.device = device;
        this.ops = device.ops();
        this.linears = new Linears(device, adapters);
        this.attention = new LayerAttention(config, device, linears);
    }

    @Override
    public void forward(BlockView p, LayerCall call, Tensor rotary, LayerState state, Memory kept, Tensor out) {
        Tensor x = state.input;
        long tokens = x.rows();
        DType type = x.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor inverse = work.allocate(DType.F32, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            ops.rmsNorm(normed, inverse, null, x, null, p.get("norm1.weight"), config.normEpsilon());
            attention.forward(p, call, rotary, normed, normed, state, kept);
            state.middle = kept.allocate(type, tokens, config.hidden());
            ops.rmsNorm(normed, inverse, state.middle, x, normed, p.get("norm2.weight"), config.normEpsilon());
            state.gateUp = kept.allocate(type, tokens, 2L * config.feedForward());
            linears.forward(p, "gate_up.weight", call, state.gateUp, normed, state, kept);
            if (out != null) {
                Tensor activated = work.allocate(type, tokens, config.feedForward());
                ops.swiglu(activated, state.gateUp, null);
                linears.forward(p, "down.weight", call, normed, activated, state, kept);
                ops.add(out, state.middle, normed);
            }
        }
    }

    @Override
    public void backward(BlockView p, BlockView g, LayerCall call, Tensor rotary, LayerState state, Tensor grad) {
        long tokens = grad.rows();
        DType type = grad.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor inverse = work.allocate(DType.F32, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            Tensor gradNormed = work.allocate(type, tokens, config.hidden());

            try (Memory wide = device.memory(Purpose.WORKSPACE)) {
                Tensor activated = wide.allocate(type, tokens, config.feedForward());
                if (linears.readsInput(g, "down.weight")) {
                    ops.swiglu(activated, state.gateUp, null);
                }
                linears.backward(p, g, "down.weight", call, activated, grad, activated, state);
                ops.swigluBackward(state.gateUp, activated, state.gateUp, null);
            }
            ops.rmsNorm(normed, inverse, null, state.middle, null, p.get("norm2.weight"), config.normEpsilon());
            linears.backward(p, g, "gate_up.weight", call, gradNormed, state.gateUp, normed, state);
            ops.rmsNormBackward(
                    grad,
                    g.find("norm2.weight"),
                    false,
                    gradNormed,
                    state.middle,
                    inverse,
                    p.get("norm2.weight"),
                    grad);

            ops.rmsNorm(normed, inverse, null, state.input, null, p.get("norm1.weight"), config.normEpsilon());
            boolean further = call.inputGradient() || g.find("norm1.weight") != null;
            attention.backward(p, g, call, rotary, further ? gradNormed : null, grad, normed, state);
            if (further) {
                ops.rmsNormBackward(
                        grad,
                        g.find("norm1.weight"),
                        false,
                        gradNormed,
                        state.input,
                        inverse,
                        p.get("norm1.weight"),
                        grad);
            }
        }
    }
}
