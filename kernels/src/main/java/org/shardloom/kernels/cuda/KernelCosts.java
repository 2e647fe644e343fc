package org.shardloom.kernels.cuda;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.OpWorkspace;

/**
 * What each family of kernels cannot do without: bytes of device memory, every input read once and every output written once, and
 * operations, a multiplication, an addition or a function of one number each counting as one. What a kernel takes beside that (rows read
 * twice, tiles read by several blocks, scores of pairs that do not see each other) is its own loss, and shows against {@link Cost#floorMicros}.
 *
 * <p>A family is all kernels whose names begin with its own, a dtype following, as the table {@code kernels/target/cuda/kernels.txt} names
 * them. Indices of tokens and sequences, vectors of a row's length and numbers of a row are counted where they are a visible part.
 */
public enum KernelCosts {
    ADD("add_", s -> s.each(3 * s.width), s -> s.each(1)),
    ADD_SCALED("add_scaled_", s -> s.each(3 * s.width), s -> s.each(2)),
    ADD_BIAS("add_bias_", s -> s.each(2 * s.width) + s.columns * s.width, s -> s.each(1)),
    SCALE("scale_", s -> s.each(2 * s.width), s -> s.each(1)),
    /** From dtype other to dtype width. */
    CONVERT("convert_", s -> s.each(s.width + s.other), s -> s.each(1)),
    /** Twelve operations on integers make the choice. */
    DROPOUT("dropout_", s -> s.each(2 * s.width), s -> s.each(14)),
    /** Master weights and both moments read and written, a gradient read, parameters of dtype width written. */
    ADAMW("adamw_", s -> s.each(28 + s.width), s -> s.each(15)),
    TANH("tanh_forward", s -> s.each(8), s -> s.each(1)),
    TANH_BACKWARD("tanh_backward", s -> s.each(12), s -> s.each(3)),
    /** Of sums with a bias. */
    GELU("gelu_", s -> s.each(2 * s.width) + s.columns * s.width, s -> s.each(9)),
    GELU_BACKWARD("gelu_backward_", s -> s.each(3 * s.width) + s.columns * s.width, s -> s.each(17)),
    /** Rows of columns outputs from twice as many inputs, without biases. */
    SWIGLU("swiglu_", s -> s.each(3 * s.width), s -> s.each(5)),
    SWIGLU_BACKWARD("swiglu_backward_", s -> s.each(5 * s.width), s -> s.each(11)),

    /** Without a residual; with one, {@link #RMS_NORM_RESIDUAL}. */
    RMS_NORM("rms_norm_", s -> s.each(2 * s.width) + s.columns * s.width + 4 * s.rows, s -> s.each(4)),
    /** The same kernel where it adds a residual and keeps the sum. */
    RMS_NORM_RESIDUAL("rms_norm_", s -> s.each(4 * s.width) + s.columns * s.width + 4 * s.rows, s -> s.each(5)),
    /** With a gradient that comes past the norm. */
    RMS_NORM_BACKWARD(
            "rms_norm_backward_", s -> s.each(4 * s.width) + s.columns * s.width + 4 * s.rows, s -> s.each(11)),
    LAYER_NORM("layer_norm_", s -> s.each(2 * s.width) + 2 * s.columns * s.width + 8 * s.rows, s -> s.each(8)),
    LAYER_NORM_BACKWARD(
            "layer_norm_backward_", s -> s.each(3 * s.width) + s.columns * s.width + 8 * s.rows, s -> s.each(13)),

    /** Sums of {@link OpWorkspace#ROWS} rows each, in fp32. */
    COLUMN_PARTIALS("column_partials_", s -> s.each(s.width) + 4 * s.blocks() * s.columns, s -> s.each(1)),
    NORM_PARTIALS("norm_partials_", s -> s.each(2 * s.width) + 4 * s.blocks() * s.columns + 8 * s.rows, s -> s.each(4)),
    /** Of so many rows of partial sums, without adding to what is there. */
    COLUMN_TOTAL("column_total_", s -> s.each(4) + s.columns * s.width, s -> s.each(1)),
    /** Of so many ranks, whose elements have dtype width, without adding to what is there. */
    SUM_RANKS("sum_ranks_", s -> s.each(s.width) + 4 * s.columns, s -> s.each(1)),
    SUM_OF_SQUARES("sum_of_squares", s -> s.each(4), s -> s.each(2)),

    /** So many rows of a table. */
    GATHER_ROWS("gather_rows_", s -> s.each(2 * s.width) + 4 * s.rows, s -> 0),
    SCATTER_ROWS("scatter_rows_", s -> s.each(2 * s.width) + 4 * s.rows, s -> 0),
    /** Gradients of dtype width of so many rows, all of different tokens, into a table of dtype other. */
    EMBEDDING_BACKWARD("embedding_backward_", s -> s.each(s.width + 2 * s.other) + 8 * s.rows, s -> s.each(1)),
    /** Logits of fp32, and a gradient of dtype width. */
    CROSS_ENTROPY("cross_entropy_", s -> s.each(4 + s.width) + 8 * s.rows, s -> s.each(6)),
    /** Half a byte and a 64th of a scale an element. */
    DEQUANTIZE_NF4("dequantize_nf4_", s -> s.each(s.width + 0.5 + 4.0 / 64), s -> s.each(1)),
    DEQUANTIZE_ABSMAX("dequantize_absmax", s -> s.each(5 + 4.0 / 256), s -> s.each(2)),

    /** Rows of queries, keys and values, rotated where they are; values only pass where there is a bias, which is not counted. */
    ROTARY("rotary_", s -> 2.0 * s.rows * s.width * s.pairs * 2 + 8.0 * s.rows, s -> 6.0 * s.rows * s.pairs),
    /** Rows of so many columns, keys and values together. */
    CACHE_APPEND("cache_append_", s -> s.each(2 * s.width), s -> 0),

    ATTENTION("attention_", KernelCosts::forwardBytes, s -> 4 * s.products(), false),
    /** The same kernel where keys and values are those of a cache with nothing from before, and log-sums are not kept. */
    ATTENTION_WITH_CACHE("attention_", s -> forwardBytes(s) - 4 * s.headRows(), s -> 4 * s.products(), false),
    ATTENTION_GRAD_QUERY("attention_grad_query_", KernelCosts::gradQueryBytes, s -> 6 * s.products(), false),
    ATTENTION_GRAD_KEY("attention_grad_key_", KernelCosts::gradKeyBytes, s -> 8 * s.products(), false),
    FLASH_ATTENTION("flash_attention_", KernelCosts::forwardBytes, s -> 4 * s.products(), true),
    /** As {@link #ATTENTION_WITH_CACHE}. */
    FLASH_ATTENTION_WITH_CACHE(
            "flash_attention_", s -> forwardBytes(s) - 4 * s.headRows(), s -> 4 * s.products(), true),
    FLASH_ATTENTION_GRAD_QUERY("flash_attention_grad_query_", KernelCosts::gradQueryBytes, s -> 6 * s.products(), true),
    FLASH_ATTENTION_GRAD_KEY("flash_attention_grad_key_", KernelCosts::gradKeyBytes, s -> 8 * s.products(), true),
    /** So many rows of sums in fp32, of so many columns of keys and values, into an other-th part of the rows. */
    FLASH_SUM_PARTS("flash_sum_parts_", s -> s.each(4) + s.each(s.width) / s.other, s -> s.each(1));

    /**
     * Size of a launch.
     *
     * @param rows rows, or tokens
     * @param columns elements of a row of the output
     * @param width bytes of an element
     * @param other bytes of an element of the other dtype, where a family has two
     * @param pairs rotary positions: pairs of elements of a row that are rotated; attention: pairs of a query and a key that it sees, of one head
     * @param attention how rows are divided; null for other families
     */
    public record Size(long rows, long columns, int width, int other, long pairs, AttentionShape attention) {
        /** Of a family that has rows and columns of one dtype. */
        public static Size of(long rows, long columns, int width) {
            return new Size(rows, columns, width, width, 0, null);
        }

        /** Of a family that has two dtypes. */
        public static Size of(long rows, long columns, int width, int other) {
            return new Size(rows, columns, width, other, 0, null);
        }

        /** Rotation of so many tokens. */
        public static Size rotary(long tokens, int width, AttentionShape s) {
            long pairs = (long) (s.heads() + s.groups()) * s.rotaryDim() / 2;
            return new Size(tokens, s.qkvWidth(), width, width, pairs, s);
        }

        /**
         * Attention over packed sequences.
         *
         * @param contexts how many of the first tokens of each sequence all its tokens see; null for 0
         */
        public static Size attention(int[] lengths, int[] contexts, int width, AttentionShape s) {
            long pairs = 0;
            for (int i = 0; i < lengths.length; i++) {
                long length = lengths[i], context = contexts == null ? 0 : Math.min(length, contexts[i]);
                // Query q sees the larger of q + 1 and the context.
                pairs += length * (length + 1) / 2 + context * (context - 1) / 2;
            }
            return new Size(Arrays.stream(lengths).asLongStream().sum(), s.qkvWidth(), width, width, pairs, s);
        }

        private double each(double perElement) {
            return perElement * rows * columns;
        }

        private double blocks() {
            return (rows + OpWorkspace.ROWS - 1) / OpWorkspace.ROWS;
        }

        /** Multiplications of one product of all that see each other, in all heads. */
        private double products() {
            return (double) pairs * attention.headSize() * attention.heads();
        }

        private double headRows() {
            return (double) rows * attention.heads();
        }
    }

    /**
     * The least of one launch.
     *
     * @param matrix whether its operations are those of tensor cores
     */
    public record Cost(double bytes, double operations, boolean matrix) {
        /** Time below which no kernel can be on such a card, in microseconds: what takes longer of moving and computing, the other beside it. */
        public double floorMicros(Rates rates) {
            double perSecond = matrix ? rates.matrixOperations : rates.vectorOperations;
            return 1e6 * Math.max(bytes / rates.bytes, operations / perSecond);
        }

        /** Whether moving takes longer than computing. */
        public boolean boundByMemory(Rates rates) {
            return bytes / rates.bytes >= operations / (matrix ? rates.matrixOperations : rates.vectorOperations);
        }
    }

    /**
     * What a card can do in a second at most, as its maker states it.
     *
     * @param bytes read and written in device memory
     * @param vectorOperations fp32, outside of tensor cores
     * @param matrixOperations on tensor cores, of 16-bit operands with fp32 sums
     */
    public record Rates(double bytes, double vectorOperations, double matrixOperations) {
        public Rates {
            if (!(bytes > 0 && vectorOperations > 0 && matrixOperations > 0)) {
                throw new IllegalArgumentException("rates are above 0, found %s bytes, %s and %s operations a second"
                        .formatted(bytes, vectorOperations, matrixOperations));
            }
        }
    }

    private final String prefix;
    private final ToDoubleFunction<Size> bytes;
    private final ToDoubleFunction<Size> operations;
    private final boolean matrix;

    KernelCosts(String prefix, ToDoubleFunction<Size> bytes, ToDoubleFunction<Size> operations) {
        this(prefix, bytes, operations, false);
    }

    KernelCosts(String prefix, ToDoubleFunction<Size> bytes, ToDoubleFunction<Size> operations, boolean matrix) {
        this.prefix = prefix;
        this.bytes = bytes;
        this.operations = operations;
        this.matrix = matrix;
    }

    /** What a launch of the size takes at least. */
    public Cost of(Size size) {
        return new Cost(bytes.applyAsDouble(size), operations.applyAsDouble(size), matrix);
    }

    /** What names of the family's kernels begin with. */
    public String prefix() {
        return prefix;
    }

    /** The family of a kernel: that with the longest beginning of its name, the first of several. */
    public static Optional<KernelCosts> named(String kernel) {
        List<KernelCosts> all = List.of(values());
        return all.stream()
                .filter(family -> kernel.startsWith(family.prefix))
                .reduce((a, b) -> b.prefix.length() > a.prefix.length() ? b : a);
    }

    private static double forwardBytes(Size s) {
        return s.each(s.width) + s.rows * s.attention.contextWidth() * (double) s.width + 4 * s.headRows();
    }

    /** Reads what forward had and made and the gradient of its result; writes the gradients of queries, and deltas. */
    private static double gradQueryBytes(Size s) {
        return s.each(s.width) + 3.0 * s.rows * s.attention.contextWidth() * s.width + 8 * s.headRows();
    }

    /** Reads what forward had, the gradient of its result, log-sums and deltas; writes the gradients of keys and values. */
    private static double gradKeyBytes(Size s) {
        double keysAndValues = s.attention.cacheWidth();
        return s.each(s.width) + s.rows * (s.attention.contextWidth() + keysAndValues) * s.width + 8 * s.headRows();
    }
}
