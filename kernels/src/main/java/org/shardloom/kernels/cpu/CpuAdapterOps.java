package org.shardloom.kernels.cpu;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import org.shardloom.kernels.device.AdapterOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link AdapterOps} in C++. */
abstract class CpuAdapterOps implements AdapterOps {

    @Override
    public void linearAdd(Columns y, Tensor x, Tensor weight) {
        long t = x.rows(), k = x.columns(), n = y.count();
        shape("weight", weight, weight.dtype(), n, k);
        check("y", y, t);
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
        long t = gradX.rows(), k = gradX.columns(), n = gradY.count();
        shape("weight", weight, weight.dtype(), n, k);
        check("gradY", gradY, t);
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
        long t = x.rows(), k = x.columns(), n = gradY.count();
        shape("gradWeight", gradWeight, gradWeight.dtype(), n, k);
        check("gradY", gradY, t);
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
        shape("x", x, out.dtype(), out.shape());
        require(rate >= 0 && rate < 1, "a dropout rate of %s, expected 0 to below 1", rate);
        NativeCpu.dropout(out.address(), x.address(), out.dtype().code, out.elements(), key, rate);
    }

    @Override
    public void tanh(Tensor out, Tensor x) {
        shape("x", x, DType.F32, out.shape());
        shape("out", out, DType.F32, out.shape());
        NativeCpu.tanhForward(out.address(), x.address(), out.elements());
    }

    @Override
    public void tanhBackward(Tensor gradX, Tensor gradY, Tensor y) {
        shape("gradX", gradX, DType.F32, gradX.shape());
        shape("gradY", gradY, DType.F32, gradX.shape());
        shape("y", y, DType.F32, gradX.shape());
        NativeCpu.tanhBackward(gradX.address(), gradY.address(), y.address(), gradX.elements());
    }

    private static void check(String name, Columns columns, long rows) {
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

    private static long address(Columns columns) {
        Tensor matrix = columns.matrix();
        return matrix.address() + columns.from() * matrix.dtype().bytes;
    }
}
