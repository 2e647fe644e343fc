package org.shardloom.kernels.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Doubles numbers on the first device that the driver shows, or on one that it claims as workers do. Arguments: where compiled kernels are
 * kept, whether to leave memory behind, and, to claim one, which (blank: any).
 */
public final class SimulatedProcessMain {
    private SimulatedProcessMain() {}

    public static void main(String[] args) {
        int ordinal = 0;
        if (args.length > 2) {
            System.setProperty(GpuClaim.CHOICE, args[2]);
            ordinal = GpuClaim.take().gpu().ordinal();
        }
        CudaDevice device = new CudaDevice(ordinal, CachedImages.in(Path.of(args[0])));
        Memory memory = device.memory(Purpose.ACTIVATIONS);
        Tensor x = memory.allocate(DType.F32, 3);
        ByteBuffer values = ByteBuffer.allocateDirect(12).order(ByteOrder.nativeOrder());
        device.write(x, values.putFloat(1).putFloat(2).putFloat(3).flip());
        device.ops().add(x, x, x);
        device.read(x, values.clear());
        System.out.println(device.name() + " " + values.getFloat() + " " + values.getFloat() + " " + values.getFloat());
        if (args[1].equals("tidy")) {
            memory.close();
            device.close();
        }
    }
}
