package org.shardloom.kernels.cuda;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import org.shardloom.kernels.cuda.MatrixProducts.Operand;
import org.shardloom.kernels.device.AdapterOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link AdapterOps} on the stream. */
abstract class CudaAdapterOps extends CudaQuantizedOps implements AdapterOps {
    /** As many values as the hash that decides on an element to drop may have. */
    private static final double HASHES = 0x1p53;

    final MatrixProducts products;

    CudaAdapterOps(Stream stream) {
        super(stream);
        products = new MatrixProducts(stream);
    }

    @Override
    public void linearAdd(Columns y, Tensor x, Tensor weight) {
        shape("weight", weight, weight.dtype(), y.count(), x.columns());
        products.run(operand("y", y, x.rows()), Operand.of(x), false, Operand.of(weight), true, true);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight, boolean accumulate) {
        shape("weight", weight, weight.dtype(), gradY.count(), gradX.columns());
        Operand left = operand("gradY", gradY, gradX.rows());
        products.run(Operand.of(gradX), left, false, Operand.of(weight), false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x) {
        shape("gradWeight", gradWeight, gradWeight.dtype(), gradY.count(), x.columns());
        Operand left = operand("gradY", gradY, x.rows());
        products.run(Operand.of(gradWeight), left, true, Operand.of(x), false, false);
    }

    @Override
    public void scale(Tensor out, float factor) {
        stream.each("scale" + Stream.suffix(out.dtype()), out.elements(), out, out.elements(), factor);
    }

    @Override
    public void dropout(Tensor out, Tensor x, long key, float rate) {
        shape("x", x, out.dtype(), out.shape());
        require(rate >= 0 && rate < 1, "a dropout rate of %s, expected 0 to below 1", rate);
        long dropped = (long) (rate * HASHES), n = out.elements();
        stream.each("dropout" + Stream.suffix(out.dtype()), n, out, x, n, key, dropped, 1 / (1 - rate));
    }

    @Override
    public void tanh(Tensor out, Tensor x) {
        shape("x", x, DType.F32, out.shape());
        shape("out", out, DType.F32, out.shape());
        stream.each("tanh_forward", out.elements(), out, x, out.elements());
    }

    @Override
    public void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        shape("gradX", gradX, DType.F32, gradX.shape());
        shape("gradY", gradY, DType.F32, gradX.shape());
        shape("y", y, DType.F32, gradX.shape());
        stream.each("tanh_backward", gradX.elements(), gradX, gradY, y, gradX.elements());
    }

    private static Operand operand(String name, Columns columns, long rows) {
        Tensor matrix = columns.matrix();
        shape(name, matrix, matrix.dtype(), rows, matrix.columns());
        require(
                columns.from() >= 0 && columns.count() >= 0 && columns.from() + columns.count() <= matrix.columns(),
                "%s: no columns %d to %d in %s",
                name,
                columns.from(),
                columns.from() + columns.count(),
                matrix);
        return Operand.of(matrix, columns.from(), columns.count());
    }

    @Override
    public void close() {
        super.close();
        products.close();
    }
}
