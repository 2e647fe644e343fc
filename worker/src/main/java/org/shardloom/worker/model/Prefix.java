package org.shardloom.worker.model;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Trained keys and values in a micro-batch: P of them stand before the tokens of each of the S sequences, in every layer (P-Tuning v2, Liu
 * et al., 2021). They are not rotated, and every token sees all of them, so attention runs over sequences that are P rows longer; what
 * the prefix rows themselves attend to is thrown away. They are one table, or made layer by layer where they are projected.
 */
public final class Prefix {
    private final Device device;
    private final Ops ops;
    private final AttentionShape shape;
    private final long rows;
    /** [P, layers * 2 * groups * headSize] in the training dtype: by layer all keys, then all values; null where they are projected. */
    private final Tensor keysValues;
    /** fp32 of the same shape; null outside training. */
    private final Tensor gradient;
    /** Null where they are a table. */
    private final PrefixProjection projection;

    private final IndexTensor starts;
    private final IndexTensor tokenRows;
    /** int32 [S]; null in models whose attention is causal only. */
    private final IndexTensor contexts;
    /** Where key and value heads stand in rows of queries, keys and values cut into heads. */
    private final IndexTensor places;
    /** Which rows of keys and values, cut likewise, stand there: by layer those of the table, or those of any layer. */
    private final IndexTensor[] sources;

    private final IndexTensor order;

    /**
     * Lays a table out for the batch.
     *
     * @param seen how many of the first tokens of each sequence all of it see; null: none but those before
     * @param keysValues [P, layers * 2 * groups * headSize] in the training dtype
     * @param gradient fp32 of the same shape, all zero; null outside training
     */
    Prefix(
            Device device,
            Memory memory,
            DecoderConfig config,
            PackedBatch batch,
            int[] seen,
            Tensor keysValues,
            Tensor gradient) {
        this(device, memory, config, batch, seen, (int) keysValues.rows(), keysValues, gradient, null);
    }

    /** Lays out for the batch what the projection will make. */
    Prefix(
            Device device,
            Memory memory,
            DecoderConfig config,
            PackedBatch batch,
            int[] seen,
            PrefixProjection projection) {
        this(device, memory, config, batch, seen, (int) projection.hidden().rows(), null, null, projection);
    }

    private Prefix(
            Device device,
            Memory memory,
            DecoderConfig config,
            PackedBatch batch,
            int[] seen,
            int length,
            Tensor keysValues,
            Tensor gradient,
            PrefixProjection projection) {
        this.device = device;
        this.ops = device.ops();
        this.shape = config.attention();
        this.keysValues = keysValues;
        this.gradient = gradient;
        this.projection = projection;
        int sequences = batch.starts().length - 1;
        this.rows = batch.tokens() + (long) sequences * length;

        int[] longer = new int[sequences + 1];
        int[] tokens = new int[batch.tokens()];
        int heads = shape.heads() + 2 * shape.groups();
        int perRow = 2 * shape.groups();
        int[] where = new int[sequences * length * perRow];
        int at = 0;
        for (int s = 0; s < sequences; s++) {
            int first = batch.starts()[s] + s * length;
            longer[s] = first;
            for (int p = 0; p < length; p++) {
                for (int g = 0; g < shape.groups(); g++) {
                    where[at++] = (first + p) * heads + shape.keyColumn(g) / shape.headSize();
                }
                for (int g = 0; g < shape.groups(); g++) {
                    where[at++] = (first + p) * heads + shape.valueColumn(g) / shape.headSize();
                }
            }
            for (int t = batch.starts()[s]; t < batch.starts()[s + 1]; t++) {
                tokens[t] = t + (s + 1) * length;
            }
        }
        longer[sequences] = (int) rows;
        starts = Inputs.indices(device, memory, longer);
        contexts = seen == null
                ? null
                : Inputs.indices(
                        device, memory, Arrays.stream(seen).map(c -> c + length).toArray());
        tokenRows = Inputs.indices(device, memory, tokens);
        places = Inputs.indices(device, memory, where);
        sources = new IndexTensor[projection == null ? config.layers() : 1];
        for (int layer = 0; layer < sources.length; layer++) {
            int first = layer;
            sources[layer] = Inputs.indices(
                    device,
                    memory,
                    IntStream.range(0, where.length)
                            .map(i -> (i / perRow % length * sources.length + first) * perRow + i % perRow)
                            .toArray());
        }
        order = Inputs.indices(
                device,
                memory,
                IntStream.range(0, where.length)
                        .boxed()
                        .sorted(Comparator.comparingInt(i -> i % (perRow * length)))
                        .mapToInt(Integer::intValue)
                        .toArray());
    }

    /** T + S P. */
    long rows() {
        return rows;
    }

    /** int32 [S + 1]: first row of each longer sequence, then {@link #rows}. */
    IndexTensor starts() {
        return starts;
    }

    /** int32 [S]: how many of the first rows of each longer sequence all of it see; null in models whose attention is causal only. */
    IndexTensor contexts() {
        return contexts;
    }

    /**
     * longer[T + S P, q|k|v] = the tokens' rows and, before those of each sequence, the layer's prefix.
     *
     * @param p the layer's block
     */
    void insert(Tensor longer, Tensor tokens, int layer, BlockView p) {
        ops.zero(longer);
        ops.scatterRows(longer, tokens, tokenRows);
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor pieces = work.allocate(longer.dtype(), places.count(), shape.headSize());
            Tensor made = projection == null ? keysValues : projection.keysValues(p, work);
            ops.gatherRows(pieces, pieces(made), source(layer));
            ops.scatterRows(pieces(longer), pieces, places);
        }
    }

    /** tokens[T, N] = the tokens' rows of longer[T + S P, N]. */
    void pick(Tensor tokens, Tensor longer) {
        ops.gatherRows(tokens, longer, tokenRows);
    }

    /** longer[T + S P, N] = the tokens' rows, and zeros for the prefix. */
    void spread(Tensor longer, Tensor tokens) {
        ops.zero(longer);
        ops.scatterRows(longer, tokens, tokenRows);
    }

    /**
     * Adds the gradient of the layer's prefix, summed over the sequences in their order.
     *
     * @param g receives the gradients of what has made it, where it was projected
     */
    void addGradient(Tensor gradLonger, int layer, BlockView p, BlockView g) {
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor pieces = work.allocate(gradLonger.dtype(), places.count(), shape.headSize());
            ops.gatherRows(pieces, pieces(gradLonger), places);
            Tensor sum = gradient;
            if (projection != null) {
                long length = projection.hidden().rows();
                sum = work.allocate(DType.F32, length, 2L * shape.groups() * shape.headSize());
                ops.zero(sum);
            }
            ops.embeddingBackward(pieces(sum), pieces, source(layer), order);
            if (projection != null) {
                projection.backward(p, g, sum);
            }
        }
    }

    private IndexTensor source(int layer) {
        return sources[projection == null ? layer : 0];
    }

    /** fp32 gradient of the keys and values, whole after the backward pass of the lowest layer; null where they are projected. */
    Tensor gradient() {
        return gradient;
    }

    /** Null where keys and values are a table. */
    PrefixProjection projection() {
        return projection;
    }

    /** What the prefix's own unit makes: keys and values, or what layers make them of. */
    public Tensor made() {
        return projection == null ? keysValues : projection.hidden();
    }

    private Tensor pieces(Tensor matrix) {
        return matrix.reshape(matrix.elements() / shape.headSize(), shape.headSize());
    }
}
