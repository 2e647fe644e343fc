package org.shardloom.kernels.cpu;

import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.Tensor;

/** {@link QuantizedOps} in C++. */
abstract class CpuQuantizedOps extends CpuAdapterOps implements QuantizedOps {

    @Override
    public void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax) {
        OpShapes.dequantizeNf4(out, codes, absmax);
        long n = out.elements();
        NativeCpu.nf4Dequantize(out.address(), out.dtype().code, codes.address(), absmax.address(), n);
    }

    @Override
    public void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested, float offset) {
        OpShapes.dequantizeAbsmax(absmax, codes, nested);
        long n = absmax.elements();
        NativeCpu.absmaxDequantize(absmax.address(), codes.address(), nested.address(), offset, n);
    }
}
