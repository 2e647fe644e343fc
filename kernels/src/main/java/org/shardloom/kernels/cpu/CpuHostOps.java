package org.shardloom.kernels.cpu;

import static org.shardloom.kernels.device.Shapes.require;

import java.nio.FloatBuffer;
import org.shardloom.kernels.device.HostOps;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link HostOps} in C++: of the processor as a device, and of the host beside a device with memory of its own. */
public final class CpuHostOps implements HostOps {
    public static final CpuHostOps INSTANCE = new CpuHostOps();

    private CpuHostOps() {}

    @Override
    public void zero(Tensor out) {
        NativeCpu.fill(out.address(), 0, out.bytes());
    }

    @Override
    public void convert(Tensor out, Tensor in) {
        require(out.elements() == in.elements(), "%s does not have the elements of %s", out, in);
        NativeCpu.convert(out.address(), out.dtype().code, in.address(), in.dtype().code, in.elements());
    }

    @Override
    public void add(Tensor sum, Tensor part) {
        requireF32(part, sum.elements());
        requireF32(sum, part.elements());
        NativeCpu.add(sum.address(), sum.address(), part.address(), DType.F32.code, sum.elements());
    }

    @Override
    public double sum(Tensor x) {
        requireF32(x, x.elements());
        FloatBuffer elements = HostBytes.view(x.address(), x.bytes()).asFloatBuffer();
        double sum = 0;
        while (elements.hasRemaining()) {
            sum += elements.get();
        }
        return sum;
    }

    @Override
    public double sumOfSquares(Tensor x) {
        requireF32(x, x.elements());
        return NativeCpu.sumOfSquares(x.address(), x.elements());
    }

    @Override
    public void adamw(Tensor master, Tensor first, Tensor second, Tensor gradient, Tensor out, Adamw s) {
        OpShapes.adamw(master, first, second, gradient, out);
        NativeCpu.adamw(
                master.address(),
                first.address(),
                second.address(),
                gradient.address(),
                out.address(),
                out.dtype().code,
                master.elements(),
                s.rate(),
                s.beta1(),
                s.beta2(),
                s.eps(),
                s.decay(),
                s.correction1(),
                s.correction2(),
                s.gradScale());
    }

    private static void requireF32(Tensor tensor, long elements) {
        require(
                tensor.dtype() == DType.F32 && tensor.elements() == elements,
                "expected fp32 [%d], found %s",
                elements,
                tensor);
    }
}
