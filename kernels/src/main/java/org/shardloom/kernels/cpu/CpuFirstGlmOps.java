package org.shardloom.kernels.cpu;

import static org.shardloom.kernels.device.Shapes.require;
import static org.shardloom.kernels.device.Shapes.shape;

import org.shardloom.kernels.device.FirstGlmOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link FirstGlmOps} in C++. */
abstract class CpuFirstGlmOps extends CpuQuantizedOps implements FirstGlmOps {

    @Override
    public void layerNorm(Tensor out, Tensor statistics, Tensor x, Tensor weight, Tensor bias, float eps) {
        long t = x.rows(), h = x.columns();
        shape("out", out, x.dtype(), t, h);
        shape("statistics", statistics, DType.F32, t, 2);
        shape("weight", weight, x.dtype(), h);
        shape("bias", bias, x.dtype(), h);
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
        long t = x.rows(), h = x.columns();
        shape("gradX", gradX, x.dtype(), t, h);
        shape("gradOut", gradOut, x.dtype(), t, h);
        shape("statistics", statistics, DType.F32, t, 2);
        shape("weight", weight, x.dtype(), h);
        Tensor either = gradWeight != null ? gradWeight : gradBias;
        for (Tensor gradient : new Tensor[] {gradWeight, gradBias}) {
            if (gradient != null) {
                shape("gradient of weight or bias", gradient, either.dtype(), h);
            }
        }
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
        shape("bias", bias, x.dtype(), x.columns());
        NativeCpu.addBias(x.address(), bias.address(), x.dtype().code, x.rows(), x.columns());
    }

    @Override
    public void gelu(Tensor out, Tensor x) {
        same(out, x);
        NativeCpu.geluForward(out.address(), x.address(), out.dtype().code, out.elements());
    }

    @Override
    public void geluBackward(Tensor gradX, Tensor gradOut, Tensor x) {
        same(gradX, gradOut);
        same(gradX, x);
        NativeCpu.geluBackward(gradX.address(), gradOut.address(), x.address(), x.dtype().code, x.elements());
    }

    @Override
    public void addScaled(Tensor out, Tensor a, Tensor b, float factor) {
        same(out, a);
        same(out, b);
        NativeCpu.addScaled(out.address(), a.address(), b.address(), out.dtype().code, out.elements(), factor);
    }

    private static void same(Tensor a, Tensor b) {
        require(a.dtype() == b.dtype() && a.elements() == b.elements(), "%s and %s are not alike", a, b);
    }

    static long address(Tensor tensor) {
        return tensor == null ? 0 : tensor.address();
    }
}
