package org.shardloom.kernels.cpu;

import static org.shardloom.kernels.device.Shapes.require;

import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link QuantizedOps} in C++. */
abstract class CpuQuantizedOps extends CpuAdapterOps implements QuantizedOps {

    @Override
    public void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax) {
        long n = out.elements();
        require(codes.bytes() >= (n + 1) / 2, "%d bytes of codes for %s", codes.bytes(), out);
        scales("absmax", absmax, n, BLOCK);
        NativeCpu.nf4Dequantize(out.address(), out.dtype().code, codes.address(), absmax.address(), n);
    }

    @Override
    public void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested, float offset) {
        long n = absmax.elements();
        scales("absmax", absmax, n, 1);
        require(codes.bytes() >= n, "%d bytes of codes for %s", codes.bytes(), absmax);
        scales("nested", nested, n, SCALES_BLOCK);
        NativeCpu.absmaxDequantize(absmax.address(), codes.address(), nested.address(), offset, n);
    }

    private static void scales(String name, Tensor tensor, long n, int block) {
        require(
                tensor.dtype() == DType.F32 && tensor.elements() >= (n + block - 1) / block,
                "%s is %s for %d values",
                name,
                tensor,
                n);
    }
}
