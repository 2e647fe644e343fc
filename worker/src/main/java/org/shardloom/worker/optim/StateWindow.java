package org.shardloom.worker.optim;

import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.optim.OptimizerShard.Part;

/**
 * The host's view of some elements of an optimizer's state at a time: of the state itself where it is in the host's memory, else of a
 * page-locked copy. Used by the engine's thread.
 */
public final class StateWindow implements AutoCloseable {
    private final OptimizerShard state;
    private final Memory memory;
    private final Tensor room;
    private Tensor target;

    /** @param elements that are looked at at most */
    public StateWindow(OptimizerShard state, long elements) {
        this.state = state;
        this.memory = state.device() == null ? null : state.device().hostMemory(Purpose.WORKSPACE);
        this.room = memory == null ? null : memory.allocate(DType.F32, elements);
    }

    /** fp32 [count] in the host's memory: those elements of the unit's slice, to be read until the next call. */
    public Tensor read(int unit, Part part, long from, long count) {
        Tensor elements = state.get(unit, part).slice(from, count);
        if (room == null) {
            return elements;
        }
        Tensor copy = room.slice(0, count);
        state.device().toHost(copy, elements, state.device().issued()).await();
        return copy;
    }

    /** fp32 [count] in the host's memory, to be filled and then {@link #store}d: elements of the unit's slice. */
    public Tensor write(int unit, Part part, long from, long count) {
        target = state.get(unit, part).slice(from, count);
        return room == null ? target : room.slice(0, count);
    }

    /** Puts what was filled last in its place. */
    public void store() {
        if (room != null) {
            state.device().toDevice(target, room.slice(0, target.elements())).await();
        }
    }

    @Override
    public void close() {
        if (memory != null) {
            memory.close();
        }
    }
}
