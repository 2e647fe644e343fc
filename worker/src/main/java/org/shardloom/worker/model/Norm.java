package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** A norm of the model's kind over rows: RMSNorm, in ChatGLM-6B LayerNorm. Parameters are NAME.weight and NAME.bias of a block. */
final class Norm {
    private final DecoderConfig config;
    private final Ops ops;

    Norm(DecoderConfig config, Device device) {
        this.config = config;
        this.ops = device.ops();
    }

    /** Room for what backward needs of each row. */
    Tensor statistics(Memory memory, long rows) {
        return config.firstGlm() ? memory.allocate(DType.F32, rows, 2) : memory.allocate(DType.F32, rows);
    }

    /** out[T, H] = norm of x. */
    void forward(BlockView p, String name, Tensor out, Tensor statistics, Tensor x) {
        Tensor weight = p.get(name + ".weight");
        if (config.firstGlm()) {
            ops.layerNorm(out, statistics, x, weight, p.get(name + ".bias"), config.normEpsilon());
        } else {
            ops.rmsNorm(out, statistics, null, x, null, weight, config.normEpsilon());
        }
    }

    boolean isTrained(BlockView g, String name) {
        return g.find(name + ".weight") != null || g.find(name + ".bias") != null;
    }

    /**
     * The gradients of what is trained, and of the input.
     *
     * @param g receives the gradients, overwritten
     * @param gradX [T, H], overwritten; may be gradOut
     */
    void backward(BlockView p, BlockView g, String name, Tensor gradX, Tensor gradOut, Tensor x, Tensor statistics) {
        Tensor weight = p.get(name + ".weight");
        Tensor gradWeight = g.find(name + ".weight");
        if (config.firstGlm()) {
            ops.layerNormBackward(gradX, gradWeight, g.find(name + ".bias"), gradOut, x, statistics, weight);
        } else {
            ops.rmsNormBackward(gradX, gradWeight, false, gradOut, x, statistics, weight, null);
        }
    }
}
