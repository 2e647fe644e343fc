package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** The second map of a projected prefix: makes the keys and values of a layer, with the layer's rows of it, when that layer is computed. */
final class PrefixProjection {
    static final String WEIGHT = "prefix.weight";
    static final String BIAS = "prefix.bias";

    private final Device device;
    private final Ops ops;
    private final DType dtype;
    private final Tensor hidden;
    private final Tensor input;
    private final Tensor ones;
    private final Tensor gradient;

    /**
     * For one use of the prefix.
     *
     * @param hidden fp32 [P, hidden]: the map's input, kept
     * @param ones fp32 [P, 1], kept
     * @param dtype of the map and of keys and values
     * @param memory holds what is kept
     */
    PrefixProjection(Device device, Tensor hidden, Tensor ones, DType dtype, boolean training, Memory memory) {
        this.device = device;
        this.ops = device.ops();
        this.dtype = dtype;
        this.hidden = hidden;
        this.ones = ones;
        this.input = inDtype(hidden, memory);
        this.gradient = training ? memory.allocate(DType.F32, hidden.shape()) : null;
        if (training) {
            ops.zero(gradient);
        }
    }

    /** fp32 [P, hidden]. */
    Tensor hidden() {
        return hidden;
    }

    /** fp32 [P, hidden], of {@link #hidden}: the sum over the layers so far; null outside training. */
    Tensor gradient() {
        return gradient;
    }

    /** [P, 2 * groups * headSize] in the dtype, keys before values, in memory of the scope. */
    Tensor keysValues(BlockView layer, Memory memory) {
        Tensor weight = layer.get(WEIGHT);
        Tensor out = memory.allocate(dtype, input.rows(), weight.rows());
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor wide = dtype == DType.F32 ? out : work.allocate(DType.F32, out.shape());
            ops.linear(wide, input, weight);
            PrefixEncoder.addBias(ops, wide, ones, layer.get(BIAS));
            if (wide != out) {
                ops.convert(out, wide);
            }
        }
        return out;
    }

    /**
     * Fills the layer's gradients, and adds to {@link #gradient}.
     *
     * @param gradKeysValues fp32 [P, 2 * groups * headSize], summed over the sequences
     */
    void backward(BlockView p, BlockView g, Tensor gradKeysValues) {
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor gradOut = inDtype(gradKeysValues, work);
            ops.linearBackwardWeight(g.get(WEIGHT), gradOut, input, false);
            ops.columnSum(g.get(BIAS), gradKeysValues, false);
            ops.linearBackwardInput(gradient, gradOut, p.get(WEIGHT), true);
        }
    }

    private Tensor inDtype(Tensor wide, Memory memory) {
        if (dtype == DType.F32) {
            return wide;
        }
        Tensor narrow = memory.allocate(dtype, wide.shape());
        ops.convert(narrow, wide);
        return narrow;
    }
}
