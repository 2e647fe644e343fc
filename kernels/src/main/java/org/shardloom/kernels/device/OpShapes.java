package org.shardloom.kernels.device;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * What every implementation of {@link Ops} asks of its operands before it issues anything: one method for each operation, with the operands
 * that have a shape, in the operation's order.
 *
 * @throws IllegalArgumentException from all of them, naming the first operand that does not fit
 */
public final class OpShapes {
    private OpShapes() {}

    public static void linear(Tensor y, Tensor x, Tensor weight) {
        shape("weight", weight, x.dtype(), weight.rows(), x.columns());
        shape("y", y, y.dtype(), x.rows(), weight.rows());
    }

    public static void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight) {
        shape("weight", weight, gradY.dtype(), gradY.columns(), weight.columns());
        shape("gradX", gradX, gradX.dtype(), gradY.rows(), weight.columns());
    }

    public static void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x) {
        shape("x", x, gradY.dtype(), gradY.rows(), x.columns());
        shape("gradWeight", gradWeight, gradWeight.dtype(), gradY.columns(), x.columns());
    }

    public static void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        shape("out", out, table.dtype(), ids.count(), table.columns());
    }

    public static void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        shape("rows", rows, out.dtype(), ids.count(), out.columns());
    }

    public static void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order) {
        shape("gradOut", gradOut, gradOut.dtype(), ids.count(), gradWeight.columns());
        require(order.count() == ids.count(), "order has %d entries for %d ids", order.count(), ids.count());
    }

    public static void rmsNorm(Tensor out, Tensor inverse, Tensor sum, Tensor x, Tensor residual, Tensor weight) {
        long t = x.rows(), h = x.columns();
        shape("out", out, x.dtype(), t, h);
        shape("inverse", inverse, DType.F32, t);
        shape("weight", weight, x.dtype(), h);
        require((sum == null) == (residual == null), "sum and residual belong together");
        if (residual != null) {
            shape("residual", residual, x.dtype(), t, h);
            shape("sum", sum, x.dtype(), t, h);
        }
    }

    public static void rmsNormBackward(
            Tensor gradX, Tensor gradWeight, Tensor gradOut, Tensor x, Tensor inverse, Tensor weight, Tensor skip) {
        long t = x.rows(), h = x.columns();
        shape("gradX", gradX, x.dtype(), t, h);
        shape("gradOut", gradOut, x.dtype(), t, h);
        shape("inverse", inverse, DType.F32, t);
        shape("weight", weight, x.dtype(), h);
        if (gradWeight != null) {
            shape("gradWeight", gradWeight, gradWeight.dtype(), h);
        }
        if (skip != null) {
            shape("skip", skip, x.dtype(), t, h);
        }
    }

    /** Forward and backward. */
    public static void rotary(Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape s) {
        if (bias != null) {
            shape("bias", bias, qkv.dtype(), s.qkvWidth());
        }
        shape("qkv", qkv, qkv.dtype(), positions.count() / s.dimensions(), s.qkvWidth());
        require(positions.count() % s.dimensions() == 0, "%d positions of two dimensions", positions.count());
        shape("table", table, DType.F32, table.rows(), s.pairs(), 2);
    }

    public static void attention(
            Tensor context, Tensor logSums, Tensor qkv, IndexTensor starts, IndexTensor contexts, AttentionShape s) {
        attended(context, qkv, starts, contexts, s);
        shape("logSums", logSums, DType.F32, qkv.rows(), s.heads());
    }

    public static void attentionWithCache(
            Tensor context,
            Tensor cache,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            IndexTensor cacheStarts,
            IndexTensor past,
            AttentionShape s) {
        attended(context, qkv, starts, contexts, s);
        shape("cache", cache, qkv.dtype(), cache.rows(), s.cacheWidth());
        int sequences = starts.count() - 1;
        require(
                cacheStarts.count() == sequences && past.count() == sequences,
                "%d sequences, but %d of cacheStarts and %d of past",
                sequences,
                cacheStarts.count(),
                past.count());
    }

    public static void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape s) {
        attention(context, logSums, qkv, starts, contexts, s);
        shape("gradQkv", gradQkv, qkv.dtype(), qkv.rows(), s.qkvWidth());
        shape("gradContext", gradContext, qkv.dtype(), qkv.rows(), s.contextWidth());
    }

    private static void attended(
            Tensor context, Tensor qkv, IndexTensor starts, IndexTensor contexts, AttentionShape s) {
        shape("qkv", qkv, qkv.dtype(), qkv.rows(), s.qkvWidth());
        shape("context", context, qkv.dtype(), qkv.rows(), s.contextWidth());
        require(starts.count() > 0, "starts is empty");
        require(
                contexts == null || contexts.count() == starts.count() - 1,
                "contexts of %d of %d sequences",
                contexts == null ? 0 : contexts.count(),
                starts.count() - 1);
    }

    /** On the host and on devices. */
    public static void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out) {
        long n = master.elements();
        shape("master", master, DType.F32, n);
        shape("first", first, DType.F32, n);
        shape("second", second, DType.F32, n);
        shape("gradient", gradient, DType.F32, n);
        shape("out", out, out.dtype(), n);
    }

    public static void swiglu(Tensor out, Tensor gateUp, Tensor bias) {
        shape("gateUp", gateUp, out.dtype(), out.rows(), 2 * out.columns());
        optionalBias(bias, gateUp);
    }

    public static void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp, Tensor bias) {
        swiglu(gradOut, gateUp, bias);
        shape("gradGateUp", gradGateUp, gradOut.dtype(), gradOut.rows(), 2 * gradOut.columns());
    }

    public static void columnSum(Tensor out, Tensor x) {
        shape("out", out, out.dtype(), x.columns());
    }

    public static void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets) {
        shape("losses", losses, DType.F32, logits.rows());
        shape("logits", logits, DType.F32, targets.count(), logits.columns());
        if (grad != null) {
            shape("grad", grad, grad.dtype(), logits.rows(), logits.columns());
        }
    }

    public static void convert(Tensor out, Tensor in) {
        require(out.elements() == in.elements(), "cannot convert %s to %s", in, out);
    }

    public static void add(Tensor out, Tensor a, Tensor b) {
        shape("a", a, out.dtype(), out.shape());
        shape("b", b, out.dtype(), out.shape());
    }

    public static void sumOfSquares(Tensor x) {
        shape("x", x, DType.F32, x.shape());
    }

    public static void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias) {
        long t = x.rows(), h = x.columns();
        shape("out", out, x.dtype(), t, h);
        shape("statistics", statistics, DType.F32, t, 2);
        shape("weight", weight, x.dtype(), h);
        shape("bias", bias, x.dtype(), h);
    }

    public static void layerNormBackward(
            Tensor gradX,
            Tensor gradWeight,
            Tensor gradBias,
            Tensor gradOut,
            Tensor x,
            Tensor statistics,
            Tensor weight) {
        long t = x.rows(), h = x.columns();
        shape("gradX", gradX, x.dtype(), t, h);
        shape("gradOut", gradOut, x.dtype(), t, h);
        shape("statistics", statistics, DType.F32, t, 2);
        shape("weight", weight, x.dtype(), h);
        Tensor either = gradWeight != null ? gradWeight : gradBias;
        for (Tensor gradient : new Tensor[] {gradWeight, gradBias}) {
            if (gradient != null) {
                shape("gradient of weight or bias", gradient, either.dtype(), h);
            }
        }
    }

    public static void addBias(Tensor x, Tensor bias) {
        shape("bias", bias, x.dtype(), x.columns());
    }

    private static void optionalBias(Tensor bias, Tensor x) {
        if (bias != null) {
            addBias(x, bias);
        }
    }

    /** Of GELU and of its gradient. */
    public static void gelu(Tensor bias, Tensor x, Tensor... others) {
        alike(x, others);
        optionalBias(bias, x);
    }

    /** Operands of {@link FirstGlmOps#addScaled}: as many elements of one dtype, in any shape. */
    public static void alike(Tensor first, Tensor... others) {
        for (Tensor other : others) {
            require(
                    first.dtype() == other.dtype() && first.elements() == other.elements(),
                    "%s and %s are not alike",
                    first,
                    other);
        }
    }

    public static void linearAdd(Columns y, Tensor x, Tensor weight) {
        shape("weight", weight, weight.dtype(), y.count(), x.columns());
        columns("y", y, x.rows());
    }

    public static void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight) {
        shape("weight", weight, weight.dtype(), gradY.count(), gradX.columns());
        columns("gradY", gradY, gradX.rows());
    }

    public static void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x) {
        shape("gradWeight", gradWeight, gradWeight.dtype(), gradY.count(), x.columns());
        columns("gradY", gradY, x.rows());
    }

    private static void columns(String name, Columns columns, long rows) {
        Tensor matrix = columns.matrix();
        shape(name, matrix, matrix.dtype(), rows, matrix.columns());
        require(
                columns.from() >= 0 && columns.count() >= 0 && columns.from() + columns.count() <= matrix.columns(),
                "%s: no columns %d to %d in %s",
                name,
                columns.from(),
                columns.from() + columns.count(),
                matrix);
    }

    public static void dropout(Tensor out, Tensor x, float rate) {
        shape("x", x, out.dtype(), out.shape());
        require(rate >= 0 && rate < 1, "a dropout rate of %s, expected 0 to below 1", rate);
    }

    public static void tanh(Tensor out, Tensor x) {
        shape("x", x, DType.F32, out.shape());
        shape("out", out, DType.F32, out.shape());
    }

    public static void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        shape("gradX", gradX, DType.F32, gradX.shape());
        shape("gradY", gradY, DType.F32, gradX.shape());
        shape("y", y, DType.F32, gradX.shape());
    }

    public static void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax) {
        long n = out.elements();
        require(codes.bytes() >= (n + 1) / 2, "%d bytes of codes for %s", codes.bytes(), out);
        scales("absmax", absmax, n, QuantizedOps.BLOCK);
    }

    public static void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested) {
        long n = absmax.elements();
        scales("absmax", absmax, n, 1);
        require(codes.bytes() >= n, "%d bytes of codes for %s", codes.bytes(), absmax);
        scales("nested", nested, n, QuantizedOps.SCALES_BLOCK);
    }

    private static void scales(String name, Tensor tensor, long n, int block) {
        require(
                tensor.dtype() == DType.F32 && tensor.elements() >= (n + block - 1) / block,
                "%s is %s for %d values",
                name,
                tensor,
                n);
    }
}
