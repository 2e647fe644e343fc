package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;

/**
 * The index vectors of a {@link PackedBatch} on the device.
 *
 * @param order the tokens sorted by id; null where there is no backward pass
 * @param positions [T]; of ChatGLM-6B [2, T], positions and block positions
 * @param contexts [S] of ChatGLM-6B: how many of the first tokens of each sequence all of it see; null in other models
 */
public record BatchOnDevice(
        PackedBatch host,
        IndexTensor ids,
        IndexTensor order,
        IndexTensor positions,
        IndexTensor starts,
        IndexTensor contexts,
        IndexTensor targetRows,
        IndexTensor targets) {

    /**
     * Copies the batch into memory of the scope.
     *
     * @throws IllegalArgumentException where a sequence for ChatGLM-6B has no source and target
     */
    public static BatchOnDevice of(
            Device device, Memory memory, DecoderConfig config, PackedBatch batch, boolean backward) {
        PrefixPositions places = batch.prefixPositions();
        if (config.markers() != null && places == null) {
            places = PrefixPositions.of(batch.ids(), batch.starts(), config.markers());
        }
        return new BatchOnDevice(
                batch,
                Inputs.indices(device, memory, batch.ids()),
                backward ? Inputs.indices(device, memory, batch.orderById()) : null,
                Inputs.indices(device, memory, places == null ? batch.positions() : places.both()),
                Inputs.indices(device, memory, batch.starts()),
                places == null ? null : Inputs.indices(device, memory, places.prefixLengths()),
                Inputs.indices(device, memory, batch.targetRows()),
                Inputs.indices(device, memory, batch.targets()));
    }
}
