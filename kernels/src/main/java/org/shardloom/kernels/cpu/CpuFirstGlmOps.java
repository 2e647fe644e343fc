package org.shardloom.kernels.cpu;

import org.shardloom.kernels.device.FirstGlmOps;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.tensor.Tensor;

/** {@link FirstGlmOps} in C++. */
abstract class CpuFirstGlmOps extends CpuQuantizedOps implements FirstGlmOps {

    @Override
    public void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias, float eps) {
        OpShapes.layerNorm(out, statistics, x, weight, bias);
        long t = x.rows(), h = x.columns();
        NativeCpu.layerNormForward(
                out.address(),
                statistics.address(),
                x.address(),
                weight.address(),
                bias.address(),
                x.dtype().code,
                t,
                h,
                eps);
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
        Tensor either = gradWeight != null ? gradWeight : gradBias;
        NativeCpu.layerNormBackward(
                gradX.address(),
                address(gradWeight),
                address(gradBias),
                either == null ? 0 : either.dtype().code,
                gradOut.address(),
                x.address(),
                statistics.address(),
                weight.address(),
                x.dtype().code,
                t,
                h);
    }

    @Override
    public void addBias(Tensor x, Tensor bias) {
        OpShapes.addBias(x, bias);
        NativeCpu.addBias(x.address(), bias.address(), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void gelu(Tensor out, Tensor x, Tensor bias) {
        OpShapes.gelu(bias, x, out);
        NativeCpu.geluForward(out.address(), x.address(), address(bias), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void geluBackward(Tensor gradX, Tensor gradOut, Tensor x, Tensor bias) {
        OpShapes.gelu(bias, x, gradX, gradOut);
        NativeCpu.geluBackward(
                gradX.address(), gradOut.address(), x.address(), address(bias), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void addScaled(Tensor out, Tensor a, Tensor b, float factor) {
        OpShapes.alike(out, a, b);
        NativeCpu.addScaled(out.address(), a.address(), b.address(), out.dtype().code, out.elements(), factor);
    }

    static long address(Tensor tensor) {
        return tensor == null ? 0 : tensor.address();
    }
}
