package org.shardloom.kernels.cpu;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link Ops} in C++: checks shapes and dtypes, then calls {@link NativeCpu}. */
final class CpuOps extends CpuFirstGlmOps implements Ops {

    @Override
    public void linear(Tensor y, Tensor x, Tensor weight) {
        shape("weight", weight, x.dtype(), weight.rows(), x.columns());
        shape("y", y, y.dtype(), x.rows(), weight.rows());
        MatrixProduct.run(y, x, false, weight, true, false);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate) {
        shape("weight", weight, gradY.dtype(), gradY.columns(), weight.columns());
        shape("gradX", gradX, gradX.dtype(), gradY.rows(), weight.columns());
        MatrixProduct.run(gradX, gradY, false, weight, false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate) {
        shape("x", x, gradY.dtype(), gradY.rows(), x.columns());
        shape("gradWeight", gradWeight, gradWeight.dtype(), gradY.columns(), x.columns());
        MatrixProduct.run(gradWeight, gradY, true, x, false, accumulate);
    }

    @Override
    public void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        shape("out", out, table.dtype(), ids.count(), table.columns());
        NativeCpu.gatherRows(
                out.address(),
                table.address(),
                ids.storage().address(),
                ids.count(),
                table.columns() * table.dtype().bytes);
    }

    @Override
    public void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        shape("rows", rows, out.dtype(), ids.count(), out.columns());
        NativeCpu.scatterRows(
                out.address(), rows.address(), ids.storage().address(), ids.count(), out.columns() * out.dtype().bytes);
    }

    @Override
    public void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order) {
        shape("gradOut", gradOut, gradOut.dtype(), ids.count(), gradWeight.columns());
        require(order.count() == ids.count(), "order has %d entries for %d ids", order.count(), ids.count());
        NativeCpu.embeddingBackward(
                gradWeight.address(),
                gradWeight.dtype().code,
                gradOut.address(),
                gradOut.dtype().code,
                ids.storage().address(),
                order.storage().address(),
                ids.count(),
                gradWeight.columns());
    }

    @Override
    public void rmsNorm(Tensor out, Tensor inverse, Tensor sum, Tensor x, Tensor residual, Tensor weight, float eps) {
        long t = x.rows(), h = x.columns();
        shape("out", out, x.dtype(), t, h);
        shape("inverse", inverse, DType.F32, t);
        shape("weight", weight, x.dtype(), h);
        require((sum == null) == (residual == null), "sum and residual belong together");
        if (residual != null) {
            shape("residual", residual, x.dtype(), t, h);
            shape("sum", sum, x.dtype(), t, h);
        }
        NativeCpu.rmsNormForward(
                out.address(),
                inverse.address(),
                address(sum),
                x.address(),
                address(residual),
                weight.address(),
                x.dtype().code,
                t,
                h,
                eps);
    }

    @Override
    public void rmsNormBackward(
            Tensor gradX,
            Tensor gradWeight,
            boolean accumulate,
            Tensor gradOut,
            Tensor x,
            Tensor inverse,
            Tensor weight,
            Tensor skip) {
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
        NativeCpu.rmsNormBackward(
                gradX.address(),
                address(gradWeight),
                gradWeight == null ? 0 : gradWeight.dtype().code,
                accumulate,
                gradOut.address(),
                x.address(),
                inverse.address(),
                weight.address(),
                address(skip),
                x.dtype().code,
                t,
                h);
    }

    @Override
    public void rotary(Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape shape) {
        if (bias != null) {
            shape("bias", bias, qkv.dtype(), shape.qkvWidth());
        }
        rotate(qkv, address(bias), table, positions, shape, false);
    }

    @Override
    public void rotaryBackward(Tensor gradQkv, Tensor table, IndexTensor positions, AttentionShape shape) {
        rotate(gradQkv, 0, table, positions, shape, true);
    }

    private static void rotate(
            Tensor qkv, long bias, Tensor table, IndexTensor positions, AttentionShape s, boolean inverse) {
        shape("qkv", qkv, qkv.dtype(), positions.count() / s.dimensions(), s.qkvWidth());
        require(positions.count() % s.dimensions() == 0, "%d positions of two dimensions", positions.count());
        shape("table", table, DType.F32, table.rows(), s.pairs(), 2);
        NativeCpu.rotary(
                qkv.address(),
                bias,
                qkv.dtype().code,
                table.address(),
                positions.storage().address(),
                qkv.rows(),
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead(),
                s.rotaryDim(),
                s.rotation().ordinal(),
                inverse);
    }

    @Override
    public void attention(
            Tensor context, Tensor logSums, Tensor qkv, IndexTensor starts, IndexTensor contexts, AttentionShape s) {
        shape("qkv", qkv, qkv.dtype(), qkv.rows(), s.qkvWidth());
        shape("context", context, qkv.dtype(), qkv.rows(), s.contextWidth());
        shape("logSums", logSums, DType.F32, qkv.rows(), s.heads());
        check(starts, contexts);
        NativeCpu.attentionForward(
                context.address(),
                logSums.address(),
                qkv.address(),
                qkv.dtype().code,
                starts.storage().address(),
                contexts == null ? 0 : contexts.storage().address(),
                starts.count() - 1,
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead());
    }

    @Override
    public void attentionWithCache(
            Tensor context,
            Tensor cache,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            IndexTensor cacheStarts,
            IndexTensor past,
            AttentionShape s) {
        shape("qkv", qkv, qkv.dtype(), qkv.rows(), s.qkvWidth());
        shape("context", context, qkv.dtype(), qkv.rows(), s.contextWidth());
        shape("cache", cache, qkv.dtype(), cache.rows(), s.cacheWidth());
        check(starts, contexts);
        int sequences = starts.count() - 1;
        require(
                cacheStarts.count() == sequences && past.count() == sequences,
                "%d sequences, but %d of cacheStarts and %d of past",
                sequences,
                cacheStarts.count(),
                past.count());
        NativeCpu.attentionWithCache(
                context.address(),
                cache.address(),
                qkv.address(),
                qkv.dtype().code,
                starts.storage().address(),
                contexts == null ? 0 : contexts.storage().address(),
                cacheStarts.storage().address(),
                past.storage().address(),
                sequences,
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead());
    }

    @Override
    public void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape s) {
        shape("gradQkv", gradQkv, qkv.dtype(), qkv.rows(), s.qkvWidth());
        shape("gradContext", gradContext, qkv.dtype(), qkv.rows(), s.contextWidth());
        shape("context", context, qkv.dtype(), qkv.rows(), s.contextWidth());
        shape("logSums", logSums, DType.F32, qkv.rows(), s.heads());
        check(starts, contexts);
        NativeCpu.attentionBackward(
                gradQkv.address(),
                gradContext.address(),
                context.address(),
                logSums.address(),
                qkv.address(),
                qkv.dtype().code,
                starts.storage().address(),
                contexts == null ? 0 : contexts.storage().address(),
                starts.count() - 1,
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead());
    }

    @Override
    public void swiglu(Tensor out, Tensor gateUp) {
        shape("gateUp", gateUp, out.dtype(), out.rows(), 2 * out.columns());
        NativeCpu.swigluForward(out.address(), gateUp.address(), out.dtype().code, out.rows(), out.columns());
    }

    @Override
    public void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp) {
        shape("gateUp", gateUp, gradOut.dtype(), gradOut.rows(), 2 * gradOut.columns());
        shape("gradGateUp", gradGateUp, gradOut.dtype(), gradOut.rows(), 2 * gradOut.columns());
        NativeCpu.swigluBackward(
                gradGateUp.address(),
                gradOut.address(),
                gateUp.address(),
                gradOut.dtype().code,
                gradOut.rows(),
                gradOut.columns());
    }

    @Override
    public void columnSum(Tensor out, Tensor x, boolean accumulate) {
        shape("out", out, out.dtype(), x.columns());
        NativeCpu.columnSum(
                out.address(), out.dtype().code, accumulate, x.address(), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale) {
        shape("losses", losses, DType.F32, logits.rows());
        shape("logits", logits, DType.F32, targets.count(), logits.columns());
        if (grad != null) {
            shape("grad", grad, grad.dtype(), logits.rows(), logits.columns());
        }
        NativeCpu.softmaxCrossEntropy(
                losses.address(),
                address(grad),
                grad == null ? 0 : grad.dtype().code,
                logits.address(),
                targets.storage().address(),
                logits.rows(),
                logits.columns(),
                scale);
    }

    @Override
    public void convert(Tensor out, Tensor in) {
        require(out.elements() == in.elements(), "cannot convert %s to %s", in, out);
        NativeCpu.convert(out.address(), out.dtype().code, in.address(), in.dtype().code, in.elements());
    }

    @Override
    public void add(Tensor out, Tensor a, Tensor b) {
        shape("a", a, out.dtype(), out.shape());
        shape("b", b, out.dtype(), out.shape());
        NativeCpu.add(out.address(), a.address(), b.address(), out.dtype().code, out.elements());
    }

    @Override
    public double sumOfSquares(Tensor x) {
        shape("x", x, DType.F32, x.shape());
        return NativeCpu.sumOfSquares(x.address(), x.elements());
    }

    @Override
    public void zero(Tensor out) {
        NativeCpu.fill(out.address(), 0, out.bytes());
    }

    private static void check(IndexTensor starts, IndexTensor contexts) {
        require(starts.count() > 0, "starts is empty");
        require(
                contexts == null || contexts.count() == starts.count() - 1,
                "contexts of %d of %d sequences",
                contexts == null ? 0 : contexts.count(),
                starts.count() - 1);
    }
}
