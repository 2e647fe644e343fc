package org.shardloom.kernels.cuda;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.shardloom.kernels.cuda.MatrixProducts.Operand;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link Ops} on the stream: checks shapes and dtypes, then launches. */
final class CudaOps extends CudaAttentionOps implements Ops {
    private static final int SQUARES_BLOCK = 4096;
    private static final int SQUARES_THREADS = 256;

    CudaOps(Stream stream) {
        super(stream);
    }

    @Override
    public void linear(Tensor y, Tensor x, Tensor weight) {
        shape("weight", weight, x.dtype(), weight.rows(), x.columns());
        shape("y", y, y.dtype(), x.rows(), weight.rows());
        products.run(Operand.of(y), Operand.of(x), false, Operand.of(weight), true, false);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate) {
        shape("weight", weight, gradY.dtype(), gradY.columns(), weight.columns());
        shape("gradX", gradX, gradX.dtype(), gradY.rows(), weight.columns());
        products.run(Operand.of(gradX), Operand.of(gradY), false, Operand.of(weight), false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate) {
        shape("x", x, gradY.dtype(), gradY.rows(), x.columns());
        shape("gradWeight", gradWeight, gradWeight.dtype(), gradY.columns(), x.columns());
        products.run(Operand.of(gradWeight), Operand.of(gradY), true, Operand.of(x), false, accumulate);
    }

    @Override
    public void gatherRows(Tensor out, Tensor table, IndexTensor ids) {
        shape("out", out, table.dtype(), ids.count(), table.columns());
        moveRows("gather_rows_", out, table, ids);
    }

    @Override
    public void scatterRows(Tensor out, Tensor rows, IndexTensor ids) {
        shape("rows", rows, out.dtype(), ids.count(), out.columns());
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
        shape("gradOut", gradOut, gradOut.dtype(), ids.count(), gradWeight.columns());
        require(order.count() == ids.count(), "order has %d entries for %d ids", order.count(), ids.count());
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
        long t = x.rows(), h = x.columns();
        shape("out", out, x.dtype(), t, h);
        shape("inverse", inverse, DType.F32, t);
        shape("weight", weight, x.dtype(), h);
        require((sum == null) == (residual == null), "sum and residual belong together");
        if (residual != null) {
            shape("residual", residual, x.dtype(), t, h);
            shape("sum", sum, x.dtype(), t, h);
        }
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
        long t = x.rows(), h = x.columns();
        shape("gradX", gradX, x.dtype(), t, h);
        shape("gradOut", gradOut, x.dtype(), t, h);
        shape("inverse", inverse, DType.F32, t);
        shape("weight", weight, x.dtype(), h);
        if (skip != null) {
            shape("skip", skip, x.dtype(), t, h);
        }
        if (gradWeight != null) {
            shape("gradWeight", gradWeight, gradWeight.dtype(), h);
            // First, since gradX may be gradOut.
            normWeight(gradWeight, accumulate, gradOut, x, inverse, false);
        }
        String kernel = "rms_norm_backward" + Stream.suffix(x.dtype());
        stream.rows(kernel, t, h, gradX, gradOut, x, inverse, weight, skip, h);
    }

    @Override
    public void swiglu(Tensor out, Tensor gateUp) {
        shape("gateUp", gateUp, out.dtype(), out.rows(), 2 * out.columns());
        stream.each("swiglu" + Stream.suffix(out.dtype()), out.elements(), out, gateUp, out.rows(), out.columns());
    }

    @Override
    public void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp) {
        long t = gradOut.rows(), f = gradOut.columns();
        shape("gateUp", gateUp, gradOut.dtype(), t, 2 * f);
        shape("gradGateUp", gradGateUp, gradOut.dtype(), t, 2 * f);
        String kernel = "swiglu_backward" + Stream.suffix(gradOut.dtype());
        stream.each(kernel, gradOut.elements(), gradGateUp, gradOut, gateUp, t, f);
    }

    @Override
    public void columnSum(Tensor out, Tensor x, boolean accumulate) {
        shape("out", out, out.dtype(), x.columns());
        sumRows(out, accumulate, x);
    }

    @Override
    public void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale) {
        long rows = logits.rows(), n = logits.columns();
        shape("losses", losses, DType.F32, rows);
        shape("logits", logits, DType.F32, targets.count(), n);
        if (grad != null) {
            shape("grad", grad, grad.dtype(), rows, n);
        }
        String kernel = "cross_entropy" + Stream.suffix(grad == null ? DType.F32 : grad.dtype());
        stream.rows(kernel, rows, n, losses, grad, logits, targets.storage(), n, scale);
    }

    @Override
    public void convert(Tensor out, Tensor in) {
        long n = in.elements();
        require(out.elements() == n, "cannot convert %s to %s", in, out);
        if (out.dtype() == in.dtype()) {
            stream.copy(out.address(), in.address(), in.bytes());
            return;
        }
        String kernel = "convert" + Stream.suffix(in.dtype()) + Stream.suffix(out.dtype());
        stream.each(kernel, n, out, n, in, n, 1L, n);
    }

    @Override
    public void add(Tensor out, Tensor a, Tensor b) {
        shape("a", a, out.dtype(), out.shape());
        shape("b", b, out.dtype(), out.shape());
        stream.each("add" + Stream.suffix(out.dtype()), out.elements(), out, a, b, out.elements());
    }

    @Override
    public double sumOfSquares(Tensor x) {
        shape("x", x, DType.F32, x.shape());
        int blocks = Math.toIntExact((x.elements() + SQUARES_BLOCK - 1) / SQUARES_BLOCK);
        try (Memory scope = stream.workspace()) {
            // Doubles, in the room of two fp32 each.
            Tensor partials = scope.allocate(DType.F32, blocks, 2);
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
}
