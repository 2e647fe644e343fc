package org.shardloom.worker.zero;

import java.util.HashMap;
import java.util.Map;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * ZeRO-3 between memories that are not shared: a unit is all-gathered before it is used, the next one meanwhile, and freed after. Units that
 * are used together share a room, so that there are two at a time whatever a tuning method adds beside a layer.
 */
final class GatheredParameters implements ParameterStore {
    private static final Logger LOG = LoggerFactory.getLogger(GatheredParameters.class);
    /** Parts of a room begin at multiples of this many bytes, as blocks of devices' memory do. */
    private static final long ALIGNMENT = 512;

    private final Collectives group;
    /** Brings slices from the host; null where they are on the device. */
    private final Device fetching;

    /** Memory of units that are used together: there is some while one of them is gathered. */
    private static final class Room {
        long bytes;
        int users;
        Tensor memory;
    }

    private final ShardPlan plan;
    private final DType[] dtypes;
    private final Memory gathered;
    /** By unit. */
    private final Room[] rooms;
    /** By unit: where in its room it begins. */
    private final long[] offsets;

    private final Tensor[] slices;
    private final Tensor[] full;
    private final Pending[] pending;
    private final Device.Transfer[] fetched;

    /**
     * Slices for every unit.
     *
     * @param together by unit: those with equal numbers share a room
     * @param memory of the slices
     * @param gathered of gathered units
     * @param fetching copies slices to it that are in the host's memory; null where they are the device's
     */
    GatheredParameters(
            Collectives group,
            ShardPlan plan,
            DType[] dtypes,
            int[] together,
            Memory memory,
            Memory gathered,
            Device fetching) {
        this.group = group;
        this.fetching = fetching;
        this.plan = plan;
        this.dtypes = dtypes;
        this.gathered = gathered;
        int units = plan.units().size();
        slices = new Tensor[units];
        full = new Tensor[units];
        pending = new Pending[units];
        fetched = new Device.Transfer[units];
        rooms = new Room[units];
        offsets = new long[units];
        Map<Integer, Room> byNumber = new HashMap<>();
        for (int u = 0; u < units; u++) {
            slices[u] = memory.allocate(dtypes[u], plan.sliceElements(u));
            rooms[u] = byNumber.computeIfAbsent(together[u], number -> new Room());
            offsets[u] = rooms[u].bytes;
            rooms[u].bytes += bytesInRoom(plan, u, dtypes[u]);
        }
    }

    /** Bytes of a unit in its room. */
    static long bytesInRoom(ShardPlan plan, int unit, DType dtype) {
        return (plan.paddedElements(unit) * dtype.bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private Tensor enter(int unit) {
        Room room = rooms[unit];
        if (room.users == 0) {
            room.memory = gathered.allocate(DType.F32, room.bytes / DType.F32.bytes);
        }
        room.users++;
        return new Tensor(room.memory.address() + offsets[unit], dtypes[unit], plan.paddedElements(unit));
    }

    private void leave(int unit) {
        Room room = rooms[unit];
        room.users--;
        if (room.users == 0) {
            gathered.free(room.memory);
        }
    }

    @Override
    public Tensor slice(int unit) {
        if (fetched[unit] != null) {
            fetched[unit].await(); // the host may write its slice from now on
            fetched[unit] = null;
        }
        return slices[unit];
    }

    @Override
    public void publish(int[] written) {
        for (int u : written) {
            release(u);
        }
    }

    @Override
    public void prefetch(int unit) {
        if (full[unit] == null) {
            full[unit] = enter(unit);
            pending[unit] = fetching == null ? group.allGather(full[unit], slices[unit]) : fetch(unit);
        }
    }

    private Pending fetch(int unit) {
        Tensor slice = full[unit].slice(plan.sliceElements(unit) * group.rank(), plan.sliceElements(unit));
        Device.Transfer arriving = fetching.toDevice(slice, slices[unit]);
        fetched[unit] = arriving;
        return group.size() == 1 ? arriving::join : group.allGather(full[unit], slice, arriving);
    }

    @Override
    public Tensor gather(int unit) {
        prefetch(unit);
        if (pending[unit] != null) {
            pending[unit].await();
            pending[unit] = null;
        }
        return full[unit];
    }

    @Override
    public void release(int unit) {
        if (full[unit] != null) {
            gather(unit);
            leave(unit);
            full[unit] = null;
        }
    }

    @Override
    public long residentBytes() {
        long bytes = 0;
        for (Tensor slice : slices) {
            bytes += slice.bytes();
        }
        return bytes;
    }

    /** Waits for copies that are under way, also where a step has failed: their places are about to be others'. */
    @Override
    public void close() {
        for (Device.Transfer arriving : fetched) {
            if (arriving != null) {
                await(arriving);
            }
        }
    }

    private static void await(Device.Transfer arriving) {
        try {
            arriving.await();
        } catch (RuntimeException e) {
            // It has ended, and what it brought is of no use any more.
            LOG.debug("a copy ended with a failed step", e);
        }
    }
}
