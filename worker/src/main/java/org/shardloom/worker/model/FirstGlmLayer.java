package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A layer of ChatGLM-6B: m = a n1 + dense(attention(n1)), out = a n2 + down(gelu(up(n2))), with n1 = LayerNorm(x), n2 = LayerNorm(m) and
 * biases in all linear maps. The residual is the norm's output, not the stream. As {@code GLMBlock} of the original code.
 */
final class FirstGlmLayer implements Layer {
    /** sqrt(2 * 28) whatever the number of layers: the original code never passes it on. */
    static final float RESIDUAL = (float) Math.sqrt(2 * 28);

    private final DecoderConfig config;
    private final Device device;
    private final Ops ops;
    private final Linears linears;
    private final LayerAttention attention;
    private final Norm norm;

    FirstGlmLayer(DecoderConfig config, Adapters adapters, Device device) {
        this.config = config;
        this.device = device;
        this.ops = device.ops();
        this.linears = new Linears(device, adapters);
        this.attention = new LayerAttention(config, device, linears);
        this.norm = new Norm(config, device);
    }

    @Override
    public void forward(BlockView p, LayerCall call, Tensor rotary, LayerState state, Memory kept, Tensor out) {
        Tensor x = state.input;
        long tokens = x.rows();
        DType type = x.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor statistics = norm.statistics(work, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            norm.forward(p, "norm1", normed, statistics, x);
            state.middle = kept.allocate(type, tokens, config.hidden());
            attention.forward(p, call, rotary, state.middle, normed, state, kept);
            ops.addBias(state.middle, p.get("attention.output.bias"));
            ops.addScaled(state.middle, state.middle, normed, RESIDUAL);
            norm.forward(p, "norm2", normed, statistics, state.middle);
            state.gateUp = kept.allocate(type, tokens, config.feedForward());
            linears.forward(p, "up.weight", call, state.gateUp, normed, state, kept);
            if (out != null) {
                Tensor activated = work.allocate(type, tokens, config.feedForward());
                ops.gelu(activated, state.gateUp, p.get("up.bias"));
                linears.forward(p, "down.weight", call, out, activated, state, kept);
                ops.addBias(out, p.get("down.bias"));
                ops.addScaled(out, out, normed, RESIDUAL);
            }
        }
    }

    @Override
    public void backward(BlockView p, BlockView g, LayerCall call, Tensor rotary, LayerState state, Tensor grad) {
        long tokens = grad.rows();
        DType type = grad.dtype();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor statistics = norm.statistics(work, tokens);
            Tensor normed = work.allocate(type, tokens, config.hidden());
            Tensor gradNormed = work.allocate(type, tokens, config.hidden());

            biasGradient(g, "down.bias", grad);
            try (Memory wide = device.memory(Purpose.WORKSPACE)) {
                Tensor activated = wide.allocate(type, tokens, config.feedForward());
                if (linears.readsInput(g, "down.weight")) {
                    ops.gelu(activated, state.gateUp, p.get("up.bias"));
                }
                linears.backward(p, g, "down.weight", call, activated, grad, activated, state);
                ops.geluBackward(state.gateUp, activated, state.gateUp, p.get("up.bias"));
            }
            biasGradient(g, "up.bias", state.gateUp);
            norm.forward(p, "norm2", normed, statistics, state.middle);
            linears.backward(p, g, "up.weight", call, gradNormed, state.gateUp, normed, state);
            ops.addScaled(gradNormed, gradNormed, grad, RESIDUAL);
            norm.backward(p, g, "norm2", grad, gradNormed, state.middle, statistics);

            biasGradient(g, "attention.output.bias", grad);
            norm.forward(p, "norm1", normed, statistics, state.input);
            boolean further = call.inputGradient() || norm.isTrained(g, "norm1");
            attention.backward(p, g, call, rotary, further ? gradNormed : null, grad, normed, state);
            if (further) {
                ops.addScaled(gradNormed, gradNormed, grad, RESIDUAL);
                norm.backward(p, g, "norm1", grad, gradNormed, state.input, statistics);
            }
        }
    }

    private void biasGradient(BlockView g, String name, Tensor gradOut) {
        Tensor gradient = g.find(name);
        if (gradient != null) {
            ops.columnSum(gradient, gradOut, false);
        }
    }
}
