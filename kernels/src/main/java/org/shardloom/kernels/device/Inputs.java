package org.shardloom.kernels.device;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Small vectors from Java to the device. */
public final class Inputs {
    private Inputs() {}

    /** The integers, on the device, in memory of the scope. */
    public static IndexTensor indices(Device device, Memory memory, int... values) {
        Tensor storage = memory.allocate(DType.F32, values.length);
        ByteBuffer bytes = ByteBuffer.allocateDirect(values.length * 4).order(ByteOrder.nativeOrder());
        bytes.asIntBuffer().put(values);
        device.write(storage, bytes);
        return new IndexTensor(storage, values.length);
    }

    /** The floats, on the device, in memory of the scope, with the shape. */
    public static Tensor floats(Device device, Memory memory, float[] values, long... shape) {
        Tensor storage = memory.allocate(DType.F32, shape);
        ByteBuffer bytes = ByteBuffer.allocateDirect(values.length * 4).order(ByteOrder.nativeOrder());
        bytes.asFloatBuffer().put(values);
        device.write(storage, bytes);
        return storage;
    }

    /** The elements of an fp32 tensor; waits for the device. */
    public static float[] toFloats(Device device, Tensor tensor) {
        if (tensor.dtype() != DType.F32) {
            throw new IllegalArgumentException("expected fp32, found " + tensor);
        }
        ByteBuffer bytes =
                ByteBuffer.allocateDirect(Math.toIntExact(tensor.bytes())).order(ByteOrder.nativeOrder());
        device.read(tensor, bytes);
        float[] values = new float[(int) tensor.elements()];
        bytes.asFloatBuffer().get(values);
        return values;
    }
}
