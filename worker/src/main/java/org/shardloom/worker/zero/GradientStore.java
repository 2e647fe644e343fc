package org.shardloom.worker.zero;

import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Pending;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;

/**
 * Gradients: a buffer for the unit that backward is in, reduce-scattered when the unit is done, and an fp32 sum of this rank's slice
 * over the step. Layers share two buffers by turns, so that one is reduced while the next is filled; head and embedding, the first and
 * the last of a backward pass, share one unless their weights are tied.
 */
final class GradientStore implements AutoCloseable {
    private final Collectives group;
    private final ShardPlan plan;
    private final Ops ops;
    private final MemoryStatistics statistics;
    private final DType dtype;
    private final Tensor[] buffers;
    private final int[] bufferOf;
    private final Pending[] pending;
    private final Tensor[] sums;
    private boolean accumulate;

    GradientStore(Collectives group, ShardPlan plan, boolean tied, DType dtype, Device device, Memory memory) {
        this.group = group;
        this.plan = plan;
        this.ops = device.ops();
        this.statistics = device.statistics();
        this.dtype = dtype;
        int units = plan.units().size();
        int head = units - 1;
        bufferOf = new int[units];
        long layer = 0;
        for (int u = 0; u < units; u++) {
            bufferOf[u] = u == 0 ? 0 : u == head ? (tied ? 1 : 0) : 2 + (u - 1) % 2;
            layer = u == 0 || u == head ? layer : Math.max(layer, plan.paddedElements(u));
        }
        long embedding = plan.paddedElements(0);
        long output = plan.paddedElements(head);
        long[] sizes = {tied ? embedding : Math.max(embedding, output), tied ? output : 0, layer, head > 2 ? layer : 0};
        buffers = new Tensor[sizes.length];
        pending = new Pending[sizes.length];
        for (int b = 0; b < sizes.length; b++) {
            if (sizes[b] > 0) {
                buffers[b] = group.allocateShared(dtype, sizes[b]);
                ops.zero(buffers[b]);
                statistics.allocated(buffers[b].bytes(), Purpose.GRADIENTS);
            }
        }
        sums = new Tensor[units];
        for (int u = 0; u < units; u++) {
            sums[u] = memory.allocate(DType.F32, plan.sliceElements(u));
        }
    }

    /** The first micro-batch of a step overwrites the sums, later ones add. */
    void beginRound(boolean first) {
        accumulate = !first;
    }

    /** The unit's gradient buffer, free for writing. */
    Tensor acquire(int unit) {
        int b = bufferOf[unit];
        finish(b);
        return buffers[b].slice(0, plan.paddedElements(unit));
    }

    /** As {@link #acquire}, all zero. */
    Tensor acquireZeroed(int unit) {
        Tensor buffer = acquire(unit);
        ops.zero(buffer);
        return buffer;
    }

    /** Starts the unit's reduce-scatter. */
    void reduce(int unit) {
        int b = bufferOf[unit];
        pending[b] = group.reduceScatter(sums[unit], buffers[b].slice(0, plan.paddedElements(unit)), dtype, accumulate);
    }

    /** Takes part in the unit's reduce-scatter with nothing to add. */
    void reduceNothing(int unit) {
        int b = bufferOf[unit];
        finish(b);
        pending[b] = group.reduceScatter(sums[unit], null, dtype, accumulate);
    }

    /** Waits for every reduce-scatter. */
    void finishAll() {
        for (int b = 0; b < pending.length; b++) {
            finish(b);
        }
    }

    /** fp32 [slice elements]: the sum over ranks and micro-batches. */
    Tensor sum(int unit) {
        return sums[unit];
    }

    /** Ends the accounting of the buffers, which go with the group. */
    @Override
    public void close() {
        for (Tensor buffer : buffers) {
            if (buffer != null) {
                statistics.released(buffer.bytes(), Purpose.GRADIENTS);
            }
        }
    }

    private void finish(int b) {
        if (pending[b] != null) {
            pending[b].await();
            pending[b] = null;
        }
    }
}
