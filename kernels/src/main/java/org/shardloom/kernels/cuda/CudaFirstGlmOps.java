package org.shardloom.kernels.cuda;

import org.shardloom.kernels.device.FirstGlmOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.tensor.Tensor;

/** {@link FirstGlmOps} on the stream, and the sums over rows that norms and biases share. */
abstract class CudaFirstGlmOps extends CudaAdapterOps implements FirstGlmOps {
    /** Rows that the kernels of sums.cu sum before blocks are summed. */
    private static final int COLUMN_THREADS = 128;

    CudaFirstGlmOps(Stream stream) {
        super(stream);
    }

    @Override
    public void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias, float eps) {
        OpShapes.layerNorm(out, statistics, x, weight, bias);
        long t = x.rows(), h = x.columns();
        stream.rows("layer_norm" + Stream.suffix(x.dtype()), t, h, out, statistics, x, weight, bias, h, eps);
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
        OpShapes.layerNormBackward(gradX, gradWeight, gradBias, gradOut, x, statistics, weight);
        long t = x.rows(), h = x.columns();
        // First what reads gradOut and x as they are: gradX may be either.
        if (gradWeight != null) {
            normWeight(gradWeight, false, gradOut, x, statistics, true);
        }
        if (gradBias != null) {
            sumRows(gradBias, false, gradOut);
        }
        String kernel = "layer_norm_backward" + Stream.suffix(x.dtype());
        stream.rows(kernel, t, h, gradX, gradOut, x, statistics, weight, h);
    }

    @Override
    public void addBias(Tensor x, Tensor bias) {
        OpShapes.addBias(x, bias);
        stream.each("add_bias" + Stream.suffix(x.dtype()), x.elements(), x, bias, x.rows(), x.columns());
    }

    @Override
    public void gelu(Tensor out, Tensor x, Tensor bias) {
        OpShapes.gelu(bias, x, out);
        stream.each("gelu" + Stream.suffix(x.dtype()), x.elements(), out, x, bias, x.rows(), x.columns());
    }

    @Override
    public void geluBackward(Tensor gradX, Tensor gradOut, Tensor x, Tensor bias) {
        OpShapes.gelu(bias, x, gradX, gradOut);
        String kernel = "gelu_backward" + Stream.suffix(x.dtype());
        stream.each(kernel, x.elements(), gradX, gradOut, x, bias, x.rows(), x.columns());
    }

    @Override
    public void addScaled(Tensor out, Tensor a, Tensor b, float factor) {
        OpShapes.alike(out, a, b);
        stream.each("add_scaled" + Stream.suffix(a.dtype()), a.elements(), out, a, b, a.elements(), factor);
    }

    /** out[N] (+)= sum over rows of x[T, N]. */
    final void sumRows(Tensor out, boolean accumulate, Tensor x) {
        long n = x.columns();
        int blocks = blocks(x);
        try (Memory scope = stream.workspace()) {
            Tensor partials = OpWorkspace.rowSums(scope, x);
            String kernel = "column_partials" + Stream.suffix(x.dtype());
            stream.launch(kernel, columnBlocks(n), blocks, COLUMN_THREADS, 0, partials, x, x.rows(), n);
            total(out, accumulate, partials);
        }
    }

    /**
     * gradWeight[N] (+)= sum over rows of gradOut * normed x.
     *
     * @param both statistics are means and inverses rather than inverses alone
     */
    final void normWeight(
            Tensor gradWeight, boolean accumulate, Tensor gradOut, Tensor x, Tensor statistics, boolean both) {
        long n = x.columns();
        int blocks = blocks(x);
        try (Memory scope = stream.workspace()) {
            Tensor partials = OpWorkspace.rowSums(scope, x);
            stream.launch(
                    "norm_partials" + Stream.suffix(x.dtype()),
                    columnBlocks(n),
                    blocks,
                    COLUMN_THREADS,
                    0,
                    partials,
                    gradOut,
                    x,
                    statistics,
                    both ? 1 : 0,
                    x.rows(),
                    n);
            total(gradWeight, accumulate, partials);
        }
    }

    private void total(Tensor out, boolean accumulate, Tensor partials) {
        long n = out.elements();
        String kernel = "column_total" + Stream.suffix(out.dtype());
        int add = accumulate ? 1 : 0;
        stream.launch(kernel, columnBlocks(n), 1, COLUMN_THREADS, 0, out, add, partials, partials.rows(), n);
    }

    private static int blocks(Tensor x) {
        return Math.toIntExact((x.rows() + OpWorkspace.ROWS - 1) / OpWorkspace.ROWS);
    }

    private static long columnBlocks(long n) {
        return (n + COLUMN_THREADS - 1) / COLUMN_THREADS;
    }
}
