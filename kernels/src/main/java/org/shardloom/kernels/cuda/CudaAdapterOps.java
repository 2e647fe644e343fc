package org.shardloom.kernels.cuda;

import org.shardloom.kernels.cuda.MatrixProducts.Operand;
import org.shardloom.kernels.device.AdapterOps;
import org.shardloom.kernels.device.OpShapes;
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
        OpShapes.linearAdd(y, x, weight);
        products.run(operand(y), Operand.of(x), false, Operand.of(weight), true, true);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight, boolean accumulate) {
        OpShapes.linearBackwardInput(gradX, gradY, weight);
        Operand left = operand(gradY);
        products.run(Operand.of(gradX), left, false, Operand.of(weight), false, accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x) {
        OpShapes.linearBackwardWeight(gradWeight, gradY, x);
        Operand left = operand(gradY);
        products.run(Operand.of(gradWeight), left, true, Operand.of(x), false, false);
    }

    @Override
    public void scale(Tensor out, float factor) {
        stream.each("scale" + Stream.suffix(out.dtype()), out.elements(), out, out.elements(), factor);
    }

    @Override
    public void dropout(Tensor out, Tensor x, long key, float rate) {
        OpShapes.dropout(out, x, rate);
        long dropped = (long) (rate * HASHES), n = out.elements();
        stream.each("dropout" + Stream.suffix(out.dtype()), n, out, x, n, key, dropped, 1 / (1 - rate));
    }

    @Override
    public void tanh(Tensor out, Tensor x) {
        OpShapes.tanh(out, x);
        stream.each("tanh_forward", out.elements(), out, x, out.elements());
    }

    @Override
    public void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        OpShapes.tanhBackward(gradX, gradY, y);
        stream.each("tanh_backward", gradX.elements(), gradX, gradY, y, gradX.elements());
    }

    private static Operand operand(Columns columns) {
        return Operand.of(columns.matrix(), columns.from(), columns.count());
    }

    @Override
    public void close() {
        super.close();
        products.close();
    }
}
