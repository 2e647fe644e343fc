package org.shardloom.worker.generate;

import java.util.function.Consumer;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.TunedModel;

/**
 * The memory of a device that a model takes, found on paper before its weights are read.
 *
 * @param parameters bytes that stay as long as the model
 * @param use bytes besides, at most: keys and values, activations, a block that is not in NF4 just now
 */
public record MemoryNeed(long parameters, long use) {
    /**
     * Finds it.
     *
     * @param processors whether the device is the host's processors, rather than a GPU
     * @param positions longest sequence that will be seen
     * @param use is given the model on a device that allocates on paper and computes nothing, and does with it what takes most memory
     */
    public static MemoryNeed of(
            TunedModel model, DType dtype, boolean processors, int positions, Consumer<LoadedModel> use) {
        try (PlanDevice device = new PlanDevice(processors);
                LoadedModel paper = LoadedModel.onPaper(model, device, dtype, positions)) {
            use.accept(paper);
            long peak = processors
                    ? device.statistics().peakBytes()
                    : device.allocator().reservedPeakBytes();
            return new MemoryNeed(paper.parameterBytes(), peak - paper.parameterBytes());
        }
    }

    /** Of both. */
    public long bytes() {
        return parameters + use;
    }
}
