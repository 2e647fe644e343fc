package org.shardloom.worker.model;

import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;

/** The keys and values that a prefix has in all layers, for a {@link KeyValueCache}. */
public final class PrefixTable {
    private final Device device;
    private final int layers;
    private final Tensor keysValues;
    private final PrefixProjection projection;

    /**
     * A table.
     *
     * @param keysValues [P, layers * 2 * groups * headSize]: by layer all keys, then all values
     * @param projection null where that is filled
     */
    PrefixTable(Device device, DecoderConfig config, Tensor keysValues, PrefixProjection projection) {
        this.device = device;
        this.layers = config.layers();
        this.keysValues = keysValues;
        this.projection = projection;
    }

    /** Where the prefix is projected: makes a layer's keys and values; every layer's must be. */
    public void fill(int layer, BlockView p) {
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor made = projection.keysValues(p, work);
            int[] rows = IntStream.range(0, Math.toIntExact(made.rows()))
                    .map(row -> row * layers + layer)
                    .toArray();
            Tensor places = keysValues.reshape(made.rows() * layers, made.columns());
            device.ops().scatterRows(places, made, Inputs.indices(device, work, rows));
        }
    }

    /** [P, layers * 2 * groups * headSize] in the dtype. */
    public Tensor keysValues() {
        return keysValues;
    }
}
