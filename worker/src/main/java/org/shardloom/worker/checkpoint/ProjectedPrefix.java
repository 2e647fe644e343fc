package org.shardloom.worker.checkpoint;

import java.io.IOException;
import java.nio.FloatBuffer;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.TensorSource;

/**
 * The keys and values that a projected prefix comes to: linear(tanh(linear(table))), after which the maps, a thousand times their size, are
 * of no more use (Li and Liang, 2021, section 4.3: "once training is complete, these reparametrization parameters can be dropped").
 */
final class ProjectedPrefix {
    private static final String PREFIX = "transformer.prefix_encoder.";
    private static final String TABLE = PREFIX + "embedding.weight";
    /** Elements of a map that are read at once. */
    private static final int PIECE = 1 << 22;

    private ProjectedPrefix() {}

    /** A table [length, keys and values of all layers] in the place of table and maps; fp32. */
    static TensorSource of(TensorSource trained) throws IOException {
        int length = trained.info(TABLE).shape().get(0).intValue();
        try (CpuDevice device = new CpuDevice(Runtime.getRuntime().availableProcessors())) {
            float[] hidden = linear(device, trained, trained.readAll(TABLE), length, "trans.0");
            for (int i = 0; i < hidden.length; i++) {
                hidden[i] = (float) Math.tanh(hidden[i]);
            }
            float[] keysValues = linear(device, trained, hidden, length, "trans.2");
            return new ArraySource(TABLE, keysValues, length, keysValues.length / length);
        }
    }

    /** x[rows, in] through a map that is read piece by piece: [rows, out]. */
    private static float[] linear(CpuDevice device, TensorSource trained, float[] x, int rows, String map)
            throws IOException {
        String weight = PREFIX + map + ".weight";
        int out = trained.info(weight).shape().get(0).intValue();
        int in = trained.info(weight).shape().get(1).intValue();
        float[] bias = trained.readAll(PREFIX + map + ".bias");
        float[] result = new float[rows * out];
        int most = Math.max(1, Math.min(out, PIECE / in));
        try (Memory kept = device.memory(Purpose.WORKSPACE)) {
            Tensor input = Inputs.floats(device, kept, x, rows, in);
            for (int from = 0; from < out; from += most) {
                int count = Math.min(most, out - from);
                FloatBuffer piece = FloatBuffer.allocate(count * in);
                trained.read(weight, (long) from * in, piece);
                try (Memory work = device.memory(Purpose.WORKSPACE)) {
                    Tensor y = work.allocate(DType.F32, rows, count);
                    device.ops().linear(y, input, Inputs.floats(device, work, piece.array(), count, in));
                    float[] values = Inputs.toFloats(device, y);
                    for (int r = 0; r < rows; r++) {
                        for (int c = 0; c < count; c++) {
                            result[r * out + from + c] = values[r * count + c] + bias[from + c];
                        }
                    }
                }
            }
        }
        return result;
    }
}
