package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;

/**
 * The index vectors of a {@link PackedBatch} on the device.
 *
 * @param order the tokens sorted by id; null where there is no backward pass
 */
public record BatchOnDevice(
        PackedBatch host,
        IndexTensor ids,
        IndexTensor order,
        IndexTensor positions,
        IndexTensor starts,
        IndexTensor targetRows,
        IndexTensor targets) {

    /** Copies the batch into memory of the scope. */
    public static BatchOnDevice of(Device device, Memory memory, PackedBatch batch, boolean backward) {
        return new BatchOnDevice(
                batch,
                Inputs.indices(device, memory, batch.ids()),
                backward ? Inputs.indices(device, memory, batch.orderById()) : null,
                Inputs.indices(device, memory, batch.positions()),
                Inputs.indices(device, memory, batch.starts()),
                Inputs.indices(device, memory, batch.targetRows()),
                Inputs.indices(device, memory, batch.targets()));
    }
}
