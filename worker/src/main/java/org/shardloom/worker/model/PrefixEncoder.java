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
 * "Prefix-Tuning"; the layout is that of ChatGLM2's PrefixEncoder). Table and first map are fp32. The second map is as wide as all layers'
 * keys and values together, 0.94 billion parameters in ChatGLM-6B: each layer's rows of it are a unit beside the layer's own, and computed
 * in the training dtype like those ({@link PrefixProjection}).
 */
public final class PrefixEncoder {
    private static final String PREFIX = "transformer.prefix_encoder.";

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

    /** The trained unit of the prefix's block. */
    public static UnitSpec unit(DecoderConfig config, int block, int length, boolean projection) {
        long width = config.layers() * layerWidth(config);
        // What is projected is as wide as the model in ChatGLM-6B, as wide as the result in its successors.
        long tableWidth = projection && config.firstGlm() ? config.hidden() : width;
        UnitSpec.Builder unit = new UnitSpec.Builder("prefix", block)
                .added()
                .inFp32()
                .add("table", ParameterSpec.Kind.TABLE, tableWidth, PREFIX + "embedding.weight", length);
        if (projection) {
            String map = PREFIX + "trans.0.";
            unit.add("first.weight", ParameterSpec.Kind.LINEAR, tableWidth, map + "weight", config.hidden())
                    .add("first.bias", ParameterSpec.Kind.BIAS, 1, map + "bias", config.hidden());
        }
        return unit.build();
    }

    /** The trained unit that makes the keys and values of the layer in the block, with projection: its rows of the second map. */
    public static UnitSpec layerUnit(DecoderConfig config, int block) {
        int layer = block - 1;
        long rows = layerWidth(config);
        long all = config.layers() * rows;
        String map = PREFIX + "trans.2.";
        return new UnitSpec.Builder("layers." + layer + ".prefix", block)
                .added()
                .addRows(
                        PrefixProjection.WEIGHT,
                        ParameterSpec.Kind.LINEAR,
                        config.hidden(),
                        map + "weight",
                        rows,
                        layer * rows,
                        all)
                .addRows(PrefixProjection.BIAS, ParameterSpec.Kind.BIAS, 1, map + "bias", rows, layer * rows, all)
                .build();
    }

    /** Keys and values of a layer for one prefix position. */
    static long layerWidth(DecoderConfig config) {
        return 2L * config.attention().groups() * config.attention().headSize();
    }

    /** Keys and values of all layers, in memory of the scope; those of layers are filled in later where they are projected. */
    PrefixTable table(BlockView p, DType dtype, Memory memory) {
        Tensor table = p.get("table");
        Tensor keysValues = memory.allocate(dtype, table.rows(), config.layers() * layerWidth(config));
        if (!adapters.prefixProjection()) {
            ops.convert(keysValues, table);
            return new PrefixTable(device, config, keysValues, null);
        }
        return new PrefixTable(device, config, keysValues, projection(p, dtype, false, memory));
    }

    /**
     * The prefix for a batch.
     *
     * @param p the unit
     * @param memory holds it as long as it is used
     */
    Prefix forward(BlockView p, PackedBatch batch, DType dtype, boolean training, Memory memory) {
        int[] seen = config.markers() == null
                ? null
                : PrefixPositions.of(batch.ids(), batch.starts(), config.markers())
                        .prefixLengths();
        if (adapters.prefixProjection()) {
            return new Prefix(device, memory, config, batch, seen, projection(p, dtype, training, memory));
        }
        Tensor table = p.get("table");
        Tensor keysValues = memory.allocate(dtype, table.shape());
        ops.convert(keysValues, table);
        Tensor gradient = training ? memory.allocate(DType.F32, table.shape()) : null;
        if (training) {
            ops.zero(gradient);
        }
        return new Prefix(device, memory, config, batch, seen, keysValues, gradient);
    }

    /** What the first map makes of the table, for the second one. */
    private PrefixProjection projection(BlockView p, DType dtype, boolean training, Memory memory) {
        Tensor table = p.get("table");
        Tensor hidden = memory.allocate(DType.F32, table.rows(), config.hidden());
        Tensor ones = ones(table.rows(), memory);
        ops.linear(hidden, table, p.get("first.weight"));
        addBias(ops, hidden, ones, p.get("first.bias"));
        ops.tanh(hidden, hidden);
        return new PrefixProjection(device, hidden, ones, dtype, training, memory);
    }

    private Tensor ones(long rows, Memory memory) {
        float[] values = new float[(int) rows];
        Arrays.fill(values, 1f);
        return Inputs.floats(device, memory, values, rows, 1);
    }

    /** y[T, N] += bias[N], whatever their dtypes: as a product with a column of ones[T, 1]. */
    static void addBias(Ops ops, Tensor y, Tensor ones, Tensor bias) {
        ops.linearAdd(new Columns(y, 0, y.columns()), ones, bias.reshape(bias.elements(), 1));
    }

    /** Fills the unit's gradients when all layers have added theirs. */
    void backward(BlockView p, BlockView g, Prefix prefix) {
        PrefixProjection projection = prefix.projection();
        if (projection == null) {
            ops.convert(g.get("table"), prefix.gradient());
            return;
        }
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor hidden = projection.hidden();
            Tensor gradHidden = work.allocate(DType.F32, hidden.shape());
            ops.tanhBackward(gradHidden, projection.gradient(), hidden);
            ops.linearBackwardWeight(g.get("first.weight"), gradHidden, p.get("table"), false);
            ops.columnSum(g.get("first.bias"), gradHidden, false);
            ops.linearBackwardInput(g.get("table"), gradHidden, p.get("first.weight"), false);
        }
    }
}
