package org.shardloom.worker.model;

import java.util.Arrays;
import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Makes the keys and values of all layers from the trained table: as they are, or through linear, tanh, linear (Li and Liang, 2021,
 * "Prefix-Tuning"; the layout is that of ChatGLM2's PrefixEncoder). Everything is fp32.
 */
public final class PrefixEncoder {
    private final DecoderConfig config;
    private final Adapters adapters;
    private final Device device;
    private final Ops ops;

    PrefixEncoder(DecoderConfig config, Adapters adapters, Device device) {
        this.config = config;
        this.adapters = adapters;
        this.device = device;
        this.ops = device.ops();
    }

    /** The trained unit. */
    public static UnitSpec unit(DecoderConfig config, int block, int length, boolean projection) {
        long width = width(config);
        // What is projected is as wide as the model in ChatGLM-6B, as wide as the result in its successors.
        long tableWidth = projection && config.firstGlm() ? config.hidden() : width;
        UnitSpec.Builder unit = new UnitSpec.Builder("prefix", block)
                .inFp32()
                .add(
                        "table",
                        ParameterSpec.Kind.TABLE,
                        tableWidth,
                        "transformer.prefix_encoder.embedding.weight",
                        length);
        if (projection) {
            String prefix = "transformer.prefix_encoder.trans.";
            unit.add("first.weight", ParameterSpec.Kind.LINEAR, tableWidth, prefix + "0.weight", config.hidden())
                    .add("first.bias", ParameterSpec.Kind.BIAS, 1, prefix + "0.bias", config.hidden())
                    .add("second.weight", ParameterSpec.Kind.LINEAR, config.hidden(), prefix + "2.weight", width)
                    .add("second.bias", ParameterSpec.Kind.BIAS, 1, prefix + "2.bias", width);
        }
        return unit.build();
    }

    /** Keys and values of all layers for one prefix position. */
    private static long width(DecoderConfig config) {
        return 2L
                * config.layers()
                * config.attention().groups()
                * config.attention().headSize();
    }

    /** Keys and values of all layers, [P, layers * 2 * groups * headSize] in the dtype, in memory of the scope. */
    Tensor keysValues(BlockView p, DType dtype, Memory memory) {
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor made = made(p, work);
            Tensor out = memory.allocate(dtype, made.shape());
            ops.convert(out, made);
            return out;
        }
    }

    /** fp32, the table itself or in the scope. */
    private Tensor made(BlockView p, Memory work) {
        Tensor table = p.get("table");
        if (!adapters.prefixProjection()) {
            return table;
        }
        Tensor keysValues = work.allocate(DType.F32, table.rows(), width(config));
        linear(keysValues, hidden(p, work), p.get("second.weight"), p.get("second.bias"), work);
        return keysValues;
    }

    /**
     * The prefix for a batch.
     *
     * @param p the unit
     * @param memory holds it as long as it is used
     */
    Prefix forward(BlockView p, PackedBatch batch, DType dtype, boolean training, Memory memory) {
        Tensor table = p.get("table");
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor gradient = training ? memory.allocate(DType.F32, table.rows(), width(config)) : null;
            if (training) {
                ops.zero(gradient);
            }
            int[] seen = config.markers() == null
                    ? null
                    : PrefixPositions.of(batch.ids(), batch.starts(), config.markers())
                            .prefixLengths();
            return new Prefix(device, memory, config, batch, seen, dtype, made(p, work), gradient);
        }
    }

    /** Fills the unit's gradients from that of the keys and values. */
    void backward(BlockView p, BlockView g, Prefix prefix) {
        Tensor gradient = prefix.gradient();
        if (!adapters.prefixProjection()) {
            ops.convert(g.get("table"), gradient);
            return;
        }
        Tensor table = p.get("table");
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor hidden = hidden(p, work);
            Tensor gradHidden = work.allocate(DType.F32, hidden.shape());
            ops.linearBackwardWeight(g.get("second.weight"), gradient, hidden, false);
            ops.columnSum(g.get("second.bias"), gradient, false);
            ops.linearBackwardInput(gradHidden, gradient, p.get("second.weight"), false);
            ops.tanhBackward(gradHidden, gradHidden, hidden);
            ops.linearBackwardWeight(g.get("first.weight"), gradHidden, table, false);
            ops.columnSum(g.get("first.bias"), gradHidden, false);
            ops.linearBackwardInput(g.get("table"), gradHidden, p.get("first.weight"), false);
        }
    }

    /** fp32 [P, hidden] after tanh. */
    private Tensor hidden(BlockView p, Memory memory) {
        Tensor table = p.get("table");
        Tensor hidden = memory.allocate(DType.F32, table.rows(), config.hidden());
        linear(hidden, table, p.get("first.weight"), p.get("first.bias"), memory);
        ops.tanh(hidden, hidden);
        return hidden;
    }

    /** y = x weight^T + bias: the bias as a product with a column of ones. */
    private void linear(Tensor y, Tensor x, Tensor weight, Tensor bias, Memory memory) {
        float[] ones = new float[(int) x.rows()];
        Arrays.fill(ones, 1f);
        Tensor one = Inputs.floats(device, memory, ones, x.rows(), 1);
        ops.linear(y, x, weight);
        ops.linearAdd(new Columns(y, 0, y.columns()), one, bias.reshape(bias.elements(), 1));
    }
}
