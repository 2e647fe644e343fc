package org.shardloom.kernels.plan;

import java.util.function.Consumer;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionTiles;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.OpWorkspace.Side;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Counts operations of matrix products and bytes that the others move, and asks for the memory that they take; computes nothing. */
final class PlanOps implements Ops {
    private final Work work;

    private final Memory.Allocator memory;
    private final Memory.Allocator lasting;
    /** Whether there is memory for what products work in, which stays. */
    private boolean products;
    /** Whether there is memory for what 8-bit scales stand for, which stays. */
    private boolean levels;

    /**
     * Operations of a device.
     *
     * @param memory of a GPU; null for a processor, which works in the host's
     * @param lasting the same, for what stays
     */
    PlanOps(Work work, Memory.Allocator memory, Memory.Allocator lasting) {
        this.work = work;
        this.memory = memory;
        this.lasting = lasting;
    }

    private void touch(Tensor... tensors) {
        for (Tensor tensor : tensors) {
            work.touch(tensor == null ? 0 : tensor.bytes());
        }
    }

    /** A product and the copies that a GPU's needs. */
    private void product(Side out, Side left, Side right, long terms) {
        work.product(out.rows(), out.columns(), terms);
        if (memory != null && !products && out.rows() > 0 && out.columns() > 0 && terms > 0) {
            products = true;
            new Memory(lasting, Purpose.WORKSPACE).allocate(DType.F32, OpWorkspace.PRODUCTS / 4);
        }
        workspace(scope -> OpWorkspace.product(scope, out, left, right));
    }

    private void workspace(Consumer<Memory> taken) {
        if (memory != null) {
            try (Memory scope = new Memory(memory, Purpose.WORKSPACE)) {
                taken.accept(scope);
            }
        }
    }

    @Override
    public void linear(Tensor y, Tensor x, Tensor weight) {
        product(Side.of(y), Side.of(x), Side.of(weight), x.columns());
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate) {
        product(Side.of(gradX), Side.of(gradY), Side.of(weight), gradY.columns());
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate) {
        product(Side.of(gradWeight), Side.of(gradY), Side.of(x), x.rows());
    }

    @Override
    public void linearAdd(Columns y, Tensor x, Tensor weight) {
        product(Side.of(y), Side.of(x), Side.of(weight), x.columns());
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight, boolean accumulate) {
        product(Side.of(gradX), Side.of(gradY), Side.of(weight), gradY.count());
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x) {
        product(Side.of(gradWeight), Side.of(gradY), Side.of(x), x.rows());
    }

    @Override
    public void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        touch(out, out);
    }

    @Override
    public void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        touch(rows, rows);
    }

    @Override
    public void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order) {
        touch(gradOut, gradOut, gradOut);
    }

    @Override
    public void rmsNorm(Tensor out, Tensor inverse, Tensor sum, Tensor x, Tensor residual, Tensor weight, float eps) {
        touch(out, sum, x, residual);
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
        touch(gradX, gradOut, x, skip);
        rowSums(gradWeight, x);
    }

    /** Of the rows, where a gradient is wanted. */
    private void rowSums(Tensor gradient, Tensor rows) {
        if (gradient != null) {
            workspace(scope -> OpWorkspace.rowSums(scope, rows));
        }
    }

    @Override
    public void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias, float eps) {
        touch(out, x);
    }

    @Override
    public void layerNormBackward(
            Tensor gradX,
            Tensor gradWeight,
            Tensor gradBias,
            Tensor gradOut,
            Tensor x,
            Tensor statistics,
            Tensor weight) {
        touch(gradX, gradOut, x);
        rowSums(gradWeight, x);
        rowSums(gradBias, gradOut);
    }

    @Override
    public void rotary(Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape shape) {
        touch(qkv, qkv);
    }

    @Override
    public void rotaryBackward(Tensor gradQkv, Tensor table, IndexTensor positions, AttentionShape shape) {
        touch(gradQkv, gradQkv);
    }

    /** Scores and weighted values of half of the pairs of each sequence; the sequences are taken to be of one length. */
    @Override
    public void attention(
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape shape) {
        work.product(qkv.rows(), length(qkv, starts), shape.contextWidth());
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
            AttentionShape shape) {
        work.product(2.0 * qkv.rows(), cache.rows(), shape.contextWidth());
    }

    /** Five products where forward has two, and the workspace of a GPU's kernels. */
    @Override
    public void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape shape) {
        work.product(2.5 * qkv.rows(), length(qkv, starts), shape.contextWidth());
        workspace(scope -> AttentionTiles.workspace(scope, qkv, starts, shape, gradQkv, gradContext, context));
    }

    private static double length(Tensor qkv, IndexTensor starts) {
        return (double) qkv.rows() / Math.max(1, starts.count() - 1);
    }

    @Override
    public void swiglu(Tensor out, Tensor gateUp, Tensor bias) {
        touch(out, gateUp);
    }

    @Override
    public void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp, Tensor bias) {
        touch(gradGateUp, gradOut, gateUp);
    }

    @Override
    public void gelu(Tensor out, Tensor x, Tensor bias) {
        touch(out, x);
    }

    @Override
    public void geluBackward(Tensor gradX, Tensor gradOut, Tensor x, Tensor bias) {
        touch(gradX, gradOut, x);
    }

    @Override
    public void addBias(Tensor x, Tensor bias) {
        touch(x, x);
    }

    @Override
    public void addScaled(Tensor out, Tensor a, Tensor b, float factor) {
        touch(out, a, b);
    }

    @Override
    public void columnSum(Tensor out, Tensor x, boolean accumulate) {
        touch(x);
        rowSums(out, x);
    }

    @Override
    public void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale) {
        touch(grad, logits, logits);
    }

    @Override
    public void convert(Tensor out, Tensor in) {
        touch(out, in);
    }

    @Override
    public void add(Tensor out, Tensor a, Tensor b) {
        touch(out, a, b);
    }

    /** One, so that a norm is a usual number. */
    @Override
    public double sumOfSquares(Tensor x) {
        touch(x);
        workspace(scope -> OpWorkspace.squares(scope, x));
        return 1;
    }

    @Override
    public void zero(Tensor out) {
        touch(out);
    }

    @Override
    public void scale(Tensor out, float factor) {
        touch(out, out);
    }

    @Override
    public void dropout(Tensor out, Tensor x, long key, float rate) {
        touch(out, x);
    }

    @Override
    public void tanh(Tensor out, Tensor x) {
        touch(out, x);
    }

    @Override
    public void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        touch(gradX, gradY, y);
    }

    @Override
    public void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax) {
        touch(out, codes, absmax);
    }

    @Override
    public void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested, float offset) {
        touch(absmax, codes);
        if (memory != null && !levels) {
            levels = true;
            new Memory(memory, Purpose.PARAMETERS).allocate(DType.F32, OpWorkspace.LEVELS);
        }
    }

    @Override
    public void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out, Adamw settings) {
        touch(master, master, first, first, second, second, gradient, out);
    }
}
