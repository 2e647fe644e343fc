package org.shardloom.kernels.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.shardloom.kernels.cuda.MatrixProducts.Operand;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link Ops} on the stream: checks shapes and dtypes, then launches. */
final class CudaOps extends CudaAttentionOps implements Ops {
    private static final int SQUARES_THREADS = 256;

    CudaOps(Stream stream) {
        super(stream);
    }

    @Override
    public void linear(Tensor y, Tensor x, Tensor weight) {
        OpShapes.linear(y, x, weight);
        products.run(Operand.of(y), Operand.of(x), false, Operand.of(weight), true, false);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate) {
        OpShapes.linearBackwardInput(gradX, gradY, weight);
        products.run(Operand.of(gradX), Operand.of(gradY), false, Operand.of(weight), false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate) {
        OpShapes.linearBackwardWeight(gradWeight, gradY, x);
        products.run(Operand.of(gradWeight), Operand.of(gradY), true, Operand.of(x), false, accumulate);
    }

    @Override
    public void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        OpShapes.gatherRows(out, table, ids);
        moveRows("gather_rows_", out, table, ids);
    }

    @Override
    public void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        OpShapes.scatterRows(out, rows, ids);
        moveRows("scatter_rows_", out, rows, ids);
    }

    /** In units of 16 bytes where rows begin and end with one, else of an element. */
    private void moveRows(String kernel, Tensor to, Tensor from, IndexTensor ids) {
        long bytes = to.columns() * to.dtype().bytes;
        boolean aligned = bytes % 16 == 0 && to.address() % 16 == 0 && from.address() % 16 == 0;
        int unit = aligned ? 16 : to.dtype().bytes;
        long units = bytes / unit, count = ids.count();
        stream.each(kernel + unit, count * units, to, from, ids.storage(), count, units);
    }

    @Override
    public void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order) {
        OpShapes.embeddingBackward(gradWeight, gradOut, ids, order);
        stream.rows(
                "embedding_backward" + Stream.suffix(gradWeight.dtype()) + Stream.suffix(gradOut.dtype()),
                ids.count(),
                gradWeight.columns(),
                gradWeight,
                gradOut,
                ids.storage(),
                order.storage(),
                ids.count(),
                gradWeight.columns());
    }

    @Override
    public void rmsNorm(Tensor out, Tensor inverse, Tensor sum, Tensor x, Tensor residual, Tensor weight, float eps) {
        OpShapes.rmsNorm(out, inverse, sum, x, residual, weight);
        long t = x.rows(), h = x.columns();
        String kernel = "rms_norm" + Stream.suffix(x.dtype());
        stream.rows(kernel, t, h, out, inverse, sum, x, residual, weight, h, eps);
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
        if (gradWeight != null) {
            // First, since gradX may be gradOut.
            normWeight(gradWeight, accumulate, gradOut, x, inverse, false);
        }
        String kernel = "rms_norm_backward" + Stream.suffix(x.dtype());
        stream.rows(kernel, t, h, gradX, gradOut, x, inverse, weight, skip, h);
    }

    @Override
    public void swiglu(Tensor out, Tensor gateUp, Tensor bias) {
        OpShapes.swiglu(out, gateUp, bias);
        String kernel = "swiglu" + Stream.suffix(out.dtype());
        stream.each(kernel, out.elements(), out, gateUp, bias, out.rows(), out.columns());
    }

    @Override
    public void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp, Tensor bias) {
        OpShapes.swigluBackward(gradGateUp, gradOut, gateUp, bias);
        long t = gradOut.rows(), f = gradOut.columns();
        String kernel = "swiglu_backward" + Stream.suffix(gradOut.dtype());
        stream.each(kernel, gradOut.elements(), gradGateUp, gradOut, gateUp, bias, t, f);
    }

    @Override
    public void columnSum(Tensor out, Tensor x, boolean accumulate) {
        OpShapes.columnSum(out, x);
        sumRows(out, accumulate, x);
    }

    @Override
    public void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale) {
        OpShapes.softmaxCrossEntropy(losses, grad, logits, targets);
        long rows = logits.rows(), n = logits.columns();
        String kernel = "cross_entropy" + Stream.suffix(grad == null ? DType.F32 : grad.dtype());
        stream.rows(kernel, rows, n, losses, grad, logits, targets.storage(), n, scale);
    }

    @Override
    public void convert(Tensor out, Tensor in) {
        OpShapes.convert(out, in);
        long n = in.elements();
        if (out.dtype() == in.dtype()) {
            stream.copy(out.address(), in.address(), in.bytes());
            return;
        }
        String kernel = "convert" + Stream.suffix(in.dtype()) + Stream.suffix(out.dtype());
        stream.each(kernel, n, out, n, in, n, 1L, n);
    }

    @Override
    public void add(Tensor out, Tensor a, Tensor b) {
        OpShapes.add(out, a, b);
        stream.each("add" + Stream.suffix(out.dtype()), out.elements(), out, a, b, out.elements());
    }

    @Override
    public double sumOfSquares(Tensor x) {
        OpShapes.sumOfSquares(x);
        try (Memory scope = stream.workspace()) {
            Tensor partials = OpWorkspace.squares(scope, x);
            int blocks = Math.toIntExact(partials.rows());
            stream.launch("sum_of_squares", blocks, 1, SQUARES_THREADS, 0, partials, x, x.elements());
            ByteBuffer bytes = ByteBuffer.allocateDirect(8 * blocks).order(ByteOrder.nativeOrder());
            stream.read(partials.address(), bytes);
            double sum = 0;
            for (int block = 0; block < blocks; block++) {
                sum += bytes.getDouble(8 * block);
            }
            return sum;
        }
    }

    @Override
    public void zero(Tensor out) {
        stream.fill(out.address(), out.bytes(), 0);
    }

    @Override
    public void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out, Adamw s) {
        OpShapes.adamw(master, first, second, gradient, out);
        long n = master.elements();
        stream.each(
                "adamw" + Stream.suffix(out.dtype()),
                n,
                master,
                first,
                second,
                gradient,
                out,
                n,
                (float) s.beta2(),
                // Taken in double: in fp32, 1 - 0.999 is off by one part in 10^5.
                (float) (1 - s.beta1()),
                (float) (1 - s.beta2()),
                s.rate() / s.correction1(),
                (float) Math.sqrt(s.correction2()),
                1 - s.rate() * s.decay(),
                s.eps(),
                s.gradScale());
    }
}
