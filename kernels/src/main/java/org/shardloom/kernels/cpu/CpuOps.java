package org.shardloom.kernels.cpu;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.Tensor;

/** {@link Ops} in C++: checks shapes and dtypes, then calls {@link NativeCpu}. */
final class CpuOps extends CpuFirstGlmOps implements Ops {

    @Override
    public void linear(Tensor y, Tensor x, Tensor weight) {
        OpShapes.linear(y, x, weight);
        MatrixProduct.run(y, x, false, weight, true, false);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate) {
        OpShapes.linearBackwardInput(gradX, gradY, weight);
        MatrixProduct.run(gradX, gradY, false, weight, false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate) {
        OpShapes.linearBackwardWeight(gradWeight, gradY, x);
        MatrixProduct.run(gradWeight, gradY, true, x, false, accumulate);
    }

    @Override
    public void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        OpShapes.gatherRows(out, table, ids);
        NativeCpu.gatherRows(
                out.address(),
                table.address(),
                ids.storage().address(),
                ids.count(),
                table.columns() * table.dtype().bytes);
    }

    @Override
    public void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        OpShapes.scatterRows(out, rows, ids);
        NativeCpu.scatterRows(
                out.address(), rows.address(), ids.storage().address(), ids.count(), out.columns() * out.dtype().bytes);
    }

    @Override
    public void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order) {
        OpShapes.embeddingBackward(gradWeight, gradOut, ids, order);
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
        OpShapes.rmsNorm(out, inverse, sum, x, residual, weight);
        long t = x.rows(), h = x.columns();
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
        OpShapes.rmsNormBackward(gradX, gradWeight, gradOut, x, inverse, weight, skip);
        long t = x.rows(), h = x.columns();
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
        rotate(qkv, bias, table, positions, shape, false);
    }

    @Override
    public void rotaryBackward(Tensor gradQkv, Tensor table, IndexTensor positions, AttentionShape shape) {
        rotate(gradQkv, null, table, positions, shape, true);
    }

    private static void rotate(
            Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape s, boolean inverse) {
        OpShapes.rotary(qkv, bias, table, positions, s);
        NativeCpu.rotary(
                qkv.address(),
                address(bias),
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
        OpShapes.attention(context, logSums, qkv, starts, contexts, s);
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
        OpShapes.attentionWithCache(context, cache, qkv, starts, contexts, cacheStarts, past, s);
        int sequences = starts.count() - 1;
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
        OpShapes.attentionBackward(gradQkv, gradContext, context, logSums, qkv, starts, contexts, s);
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
    public void swiglu(Tensor out, Tensor gateUp, Tensor bias) {
        OpShapes.swiglu(out, gateUp, bias);
        NativeCpu.swigluForward(
                out.address(), gateUp.address(), address(bias), out.dtype().code, out.rows(), out.columns());
    }

    @Override
    public void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp, Tensor bias) {
        OpShapes.swigluBackward(gradGateUp, gradOut, gateUp, bias);
        NativeCpu.swigluBackward(
                gradGateUp.address(),
                gradOut.address(),
                gateUp.address(),
                address(bias),
                gradOut.dtype().code,
                gradOut.rows(),
                gradOut.columns());
    }

    @Override
    public void columnSum(Tensor out, Tensor x, boolean accumulate) {
        OpShapes.columnSum(out, x);
        NativeCpu.columnSum(
                out.address(), out.dtype().code, accumulate, x.address(), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale) {
        OpShapes.softmaxCrossEntropy(losses, grad, logits, targets);
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
        OpShapes.convert(out, in);
        NativeCpu.convert(out.address(), out.dtype().code, in.address(), in.dtype().code, in.elements());
    }

    @Override
    public void add(Tensor out, Tensor a, Tensor b) {
        OpShapes.add(out, a, b);
        NativeCpu.add(out.address(), a.address(), b.address(), out.dtype().code, out.elements());
    }

    @Override
    public double sumOfSquares(Tensor x) {
        OpShapes.sumOfSquares(x);
        return NativeCpu.sumOfSquares(x.address(), x.elements());
    }

    @Override
    public void zero(Tensor out) {
        NativeCpu.fill(out.address(), 0, out.bytes());
    }

    @Override
    public void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out, Adamw settings) {
        CpuHostOps.INSTANCE.adamw(master, first, second, gradient, out, settings);
    }
}
