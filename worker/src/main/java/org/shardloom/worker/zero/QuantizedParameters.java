package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.protocol.plan.UnitSize;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;

/**
 * Parameters of which some frozen units are kept in NF4: another store holds and exchanges their codes and scales, and a unit is dequantised
 * into the training dtype as long as it is used.
 */
final class QuantizedParameters implements ParameterStore {
    private final ParameterStore stored;
    private final List<UnitSpec> units;
    private final ShardPlan plan;
    private final Device device;
    private final DType dtype;
    private final Memory gathered;
    private final Nf4Layout[] layouts;
    private final Tensor[] full;
    private final List<float[]> offsets = new ArrayList<>();

    /**
     * Over a store that is made for the units as they are kept.
     *
     * @param plan of the units as they are used
     * @param dtype of a quantised unit while it is used
     * @param store makes the store for a plan of kept units
     */
    QuantizedParameters(
            List<UnitSpec> units,
            ShardPlan plan,
            Device device,
            DType dtype,
            Memory gathered,
            Function<ShardPlan, ParameterStore> store) {
        this.units = units;
        this.plan = plan;
        this.device = device;
        this.dtype = dtype;
        this.gathered = gathered;
        this.layouts = new Nf4Layout[units.size()];
        this.full = new Tensor[units.size()];
        List<UnitSize> kept = new ArrayList<>();
        for (int u = 0; u < layouts.length; u++) {
            layouts[u] = Nf4Layout.of(units.get(u), plan.sliceElements(u));
            kept.add(
                    layouts[u] == null
                            ? units.get(u).size()
                            : new UnitSize(units.get(u).name(), layouts[u].words() * plan.worldSize(), 1));
            offsets.add(new float[units.get(u).parameters().size()]);
        }
        this.stored = store.apply(new ShardPlan(plan.worldSize(), kept));
    }

    /** Where this rank's codes and scales of the unit go; null where it is not quantised. */
    Nf4Layout layout(int unit) {
        return layouts[unit];
    }

    /** What was subtracted from the scales of each parameter of the unit, in their order; to be filled when it is loaded. */
    float[] offsets(int unit) {
        return offsets.get(unit);
    }

    /** As it is kept. */
    @Override
    public Tensor slice(int unit) {
        return stored.slice(unit);
    }

    @Override
    public void publish(int[] written) {
        stored.publish(written);
    }

    @Override
    public void prefetch(int unit) {
        if (full[unit] == null) {
            stored.prefetch(unit);
        }
    }

    @Override
    public Tensor gather(int unit) {
        if (layouts[unit] == null) {
            return stored.gather(unit);
        }
        if (full[unit] == null) {
            Tensor words = stored.gather(unit);
            full[unit] = gathered.allocate(dtype, plan.paddedElements(unit));
            for (int rank = 0; rank < plan.worldSize(); rank++) {
                dequantize(unit, rank, words);
            }
            stored.release(unit);
        }
        return full[unit];
    }

    private void dequantize(int unit, int rank, Tensor words) {
        Nf4Layout layout = layouts[unit];
        Tensor slice = words.slice(rank * layout.words(), layout.words());
        Interval owned = plan.owned(unit, rank);
        int p = 0;
        for (Map.Entry<String, ParameterSpec> entry :
                units.get(unit).parameters().entrySet()) {
            ParameterSpec spec = entry.getValue();
            Interval common = owned.intersect(new Interval(spec.offset(), spec.offset() + spec.elements()));
            float offset = offsets.get(unit)[p++];
            if (common.isEmpty()) {
                continue;
            }
            long from = common.from() - owned.from();
            long count = common.length();
            Tensor out = full[unit].slice(common.from(), count);
            if (!layout.doubled()) {
                device.ops().dequantizeNf4(out, layout.codes(slice, from, count), layout.absmax(slice, from, count));
                continue;
            }
            try (Memory work = device.memory(Purpose.WORKSPACE)) {
                Tensor codes = layout.absmaxCodes(slice, from, count);
                Tensor absmax = work.allocate(
                        DType.F32, layout.absmax(slice, from, count).elements());
                device.ops().dequantizeAbsmax(absmax, codes, layout.nested(slice, from, count), offset);
                device.ops().dequantizeNf4(out, layout.codes(slice, from, count), absmax);
            }
        }
    }

    @Override
    public void release(int unit) {
        if (full[unit] != null) {
            gathered.free(full[unit]);
            full[unit] = null;
        }
        stored.release(unit);
    }

    @Override
    public long residentBytes() {
        return stored.residentBytes();
    }

    @Override
    public void close() {
        stored.close();
    }
}
