package org.shardloom.kernels.cpu;

import org.shardloom.kernels.device.AdapterOps;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.tensor.Tensor;

/** {@link AdapterOps} in C++. */
abstract class CpuAdapterOps implements AdapterOps {

    @Override
    public void linearAdd(Columns y, Tensor x, Tensor weight) {
        OpShapes.linearAdd(y, x, weight);
        long t = x.rows(), k = x.columns(), n = y.count();
        NativeCpu.gemm(
                t,
                n,
                k,
                x.address(),
                x.dtype().code,
                k,
                1,
                weight.address(),
                weight.dtype().code,
                1,
                k,
                address(y),
                y.matrix().dtype().code,
                y.matrix().columns(),
                true);
    }

    @Override
    public void linearBackwardInput(Tensor gradX, Columns gradY, Tensor weight, boolean accumulate) {
        OpShapes.linearBackwardInput(gradX, gradY, weight);
        long t = gradX.rows(), k = gradX.columns(), n = gradY.count();
        NativeCpu.gemm(
                t,
                k,
                n,
                address(gradY),
                gradY.matrix().dtype().code,
                gradY.matrix().columns(),
                1,
                weight.address(),
                weight.dtype().code,
                k,
                1,
                gradX.address(),
                gradX.dtype().code,
                k,
                accumulate);
    }

    @Override
    public void linearBackwardWeight(Tensor gradWeight, Columns gradY, Tensor x) {
        OpShapes.linearBackwardWeight(gradWeight, gradY, x);
        long t = x.rows(), k = x.columns(), n = gradY.count();
        NativeCpu.gemm(
                n,
                k,
                t,
                address(gradY),
                gradY.matrix().dtype().code,
                1,
                gradY.matrix().columns(),
                x.address(),
                x.dtype().code,
                k,
                1,
                gradWeight.address(),
                gradWeight.dtype().code,
                k,
                false);
    }

    @Override
    public void scale(Tensor out, float factor) {
        NativeCpu.scale(out.address(), out.dtype().code, out.elements(), factor);
    }

    @Override
    public void dropout(Tensor out, Tensor x, long key, float rate) {
        OpShapes.dropout(out, x, rate);
        NativeCpu.dropout(out.address(), x.address(), out.dtype().code, out.elements(), key, rate);
    }

    @Override
    public void tanh(Tensor out, Tensor x) {
        OpShapes.tanh(out, x);
        NativeCpu.tanhForward(out.address(), x.address(), out.elements());
    }

    @Override
    public void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        OpShapes.tanhBackward(gradX, gradY, y);
        NativeCpu.tanhBackward(gradX.address(), gradY.address(), y.address(), gradX.elements());
    }

    private static long address(Columns columns) {
        Tensor matrix = columns.matrix();
        return matrix.address() + columns.from() * matrix.dtype().bytes;
    }
}
