package org.shardloom.kernels.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** {@link QuantizedOps} on the stream. */
abstract class CudaQuantizedOps implements QuantizedOps, AutoCloseable {
    final Stream stream;
    private final Memory constants;
    private Tensor levels;

    CudaQuantizedOps(Stream stream) {
        this.stream = stream;
        constants = stream.constants();
    }

    @Override
    public void dequantizeNf4(Tensor out, Tensor codes, Tensor absmax) {
        OpShapes.dequantizeNf4(out, codes, absmax);
        long n = out.elements();
        stream.each("dequantize_nf4" + Stream.suffix(out.dtype()), n, out, codes, absmax, n);
    }

    @Override
    public void dequantizeAbsmax(Tensor absmax, Tensor codes, Tensor nested, float offset) {
        OpShapes.dequantizeAbsmax(absmax, codes, nested);
        long n = absmax.elements();
        if (levels == null) {
            levels = constants.allocate(DType.F32, OpWorkspace.LEVELS);
            ByteBuffer bytes = ByteBuffer.allocateDirect(4 * OpWorkspace.LEVELS).order(ByteOrder.nativeOrder());
            bytes.asFloatBuffer().put(dynamicLevels());
            stream.write(levels.address(), bytes);
        }
        stream.each("dequantize_absmax", n, absmax, codes, nested, levels, offset, n);
    }

    /** Dettmers's signed dynamic map of 8 bits: exponents from 10^-6 to 1, each twice as finely divided as the one below, and 0 and 1. */
    static float[] dynamicLevels() {
        float[] values = new float[OpWorkspace.LEVELS];
        values[1] = 1;
        int count = 2;
        for (int exponent = 0; exponent < 7; exponent++) {
            int parts = 1 << exponent;
            double unit = Math.pow(10, exponent - 6);
            for (int i = 0; i < parts; i++) {
                float level = (float) (unit * (0.1 + 0.9 * (2 * i + 1) / (2.0 * parts)));
                values[count++] = level;
                values[count++] = -level;
            }
        }
        Arrays.sort(values);
        return values;
    }

    @Override
    public void close() {
        constants.close();
    }
}
