package org.shardloom.worker.zero;

import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.MemoryStatistics;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/**
 * Gradients of the trained units: a buffer for the unit that backward is in, reduce-scattered when the unit is done, and an fp32 sum of
 * this rank's slice over the step. {@link BufferLayout} says which units share a buffer. Units are counted among the trained ones.
 *
 * <p>Where the device has memory of its own, a unit's gradients have the training dtype. If the optimizer is on the host, their reduced
 * slice is fp32 on the device, in memory that serves one unit after the other, and the sums are the host's, but for {@link KeptGradients};
 * else the sums are the device's.
 *
 * <p>A rank that is alone has nothing to reduce: the first micro-batch of a step fills the sums themselves, and there are buffers only
 * once a second one comes.
 */
final class GradientStore implements AutoCloseable {
    /**
     * Part of a unit's sum.
     *
     * @param from its first element, of the slice
     * @param tensor fp32
     */
    record Place(long from, Tensor tensor) {}

    /**
     * A unit's slice that was reduced.
     *
     * @param copy to the host, if that is a whole one; null where it goes in pieces
     */
    private record Reduced(int unit, Device.Transfer copy) {}

    private final Collectives group;
    private final ShardPlan plan;
    private final Device device;
    private final Ops ops;
    private final MemoryStatistics statistics;
    private final Tensor[] buffers;
    private final BufferLayout layout;
    private final boolean alone;
    private final Pending[] pending;
    private final Tensor[] sums;
    private final boolean staged;
    private final Memory memory;
    /** Trained units as backward comes to them. */
    private final int[] order;

    private final KeptGradients kept;
    private final Tensor reduced;
    /** Where gradients are staged, else null. */
    private final GradientArrivals arrivals;

    /** What the ends of {@link #reduced} hold, the beginning and the end by turns. */
    private final Reduced[] ends = new Reduced[2];

    private int end;
    private boolean accumulate;

    /**
     * Buffers for the trained units of the model.
     *
     * @param plan of the trained units
     * @param memory of the device
     * @param hostMemory where the host sums gradients; unused where it does not
     * @param dtype of gradients on a device with memory of its own, but for units in fp32
     * @param singleRound whether there are no steps of several rounds: the last gradients may stay on the device
     */
    GradientStore(
            Collectives group,
            ShardPlan plan,
            TunedModel model,
            Device device,
            boolean staged,
            Memory memory,
            Memory hostMemory,
            DType dtype,
            boolean singleRound) {
        this.device = device;
        this.staged = staged;
        this.memory = memory;
        this.group = group;
        this.plan = plan;
        this.ops = device.ops();
        this.statistics = device.statistics();
        this.alone = group.size() == 1;
        List<UnitSpec> trained = model.trained();
        layout = BufferLayout.of(model, plan, u -> gradientType(trained.get(u), dtype));
        buffers = new Tensor[layout.count()];
        pending = new Pending[layout.count()];
        for (int b = 0; b < buffers.length && (!alone || staged); b++) {
            buffer(b);
        }
        sums = new Tensor[trained.size()];
        order = model.backwardOrder();
        long[] elements =
                IntStream.range(0, sums.length).mapToLong(plan::sliceElements).toArray();
        kept = staged && singleRound
                ? KeptGradients.of(device, order, elements, alone ? layout.bufferOf() : null)
                : KeptGradients.none(device, sums.length);
        for (int u = 0; u < sums.length; u++) {
            if (!kept.stays(u)) {
                sums[u] = (staged ? hostMemory : memory).allocate(DType.F32, plan.sliceElements(u));
                zero(sums[u]); // what stands in padding is never written where backward fills the sums, but it is read
            }
        }
        reduced = staged && !alone ? memory.allocate(DType.F32, reducedElements(trained, model)) : null;
        arrivals = staged ? new GradientArrivals(device, hostMemory, sums) : null;
    }

    /** The buffer; that of a rank alone is there from its first use on. */
    private Tensor buffer(int b) {
        if (buffers[b] == null) {
            if (!device.sharesHostMemory()) {
                buffers[b] = memory.allocate(layout.types()[b], layout.elements()[b]);
            } else {
                buffers[b] = group.allocateShared(DType.F32, layout.elements()[b]);
                statistics.allocated(buffers[b].bytes(), Purpose.GRADIENTS);
            }
            ops.zero(buffers[b]);
        }
        return buffers[b];
    }

    private void zero(Tensor sum) {
        if (staged) {
            device.hostOps().zero(sum);
        } else {
            ops.zero(sum);
        }
    }

    /** Whether backward's gradients are the sums: there is one rank, and nothing to add to. */
    private boolean fillsSums() {
        return alone && !accumulate && !staged;
    }

    private DType gradientType(UnitSpec unit, DType training) {
        return !device.sharesHostMemory() && !alone && !unit.fp32() ? training : DType.F32;
    }

    /** The first micro-batch of a step overwrites the sums, later ones add, the last completes them. */
    void beginRound(boolean first, boolean last) {
        accumulate = !first;
        if (!(first && last) && staying().length > 0) {
            throw new IllegalStateException("a step of several rounds, where there were to be none");
        }
        if (staged) {
            arrivals.beginRound(first, last);
        }
    }

    /** Where gradients are staged: who is told of those that have come; {@link #awaitObserver} waits for him. */
    void observe(GradientArrivals.Observer observer) {
        arrivals.observe(observer);
    }

    /** Where the unit's gradient goes, free for writing: a buffer, or the sum itself. Its padding is zero, but for the embedding's, which the caller zeroes whole. */
    Tensor acquire(int unit) {
        if (fillsSums()) {
            return sums[unit];
        }
        int b = layout.bufferOf()[unit];
        finish(b);
        Tensor buffer = buffer(b).slice(0, plan.paddedElements(unit));
        if (layout.padded()[unit]) {
            ops.zero(buffer);
        }
        return buffer;
    }

    /**
     * Starts the unit's reduce-scatter.
     *
     * @param nothing take part with nothing to add; what is under way from the buffer comes before it, as all of the group's does
     */
    void reduce(int unit, boolean nothing) {
        if (fillsSums() && !nothing) {
            return;
        }
        int b = layout.bufferOf()[unit];
        Tensor gradient = nothing ? null : buffer(b).slice(0, plan.paddedElements(unit));
        pending[b] = staged
                ? reduceThroughDevice(unit, b, gradient)
                : group.reduceScatter(sums[unit], gradient, layout.types()[b], accumulate);
    }

    /** The reduced slice is on its way to the host when the device has it. */
    private Pending reduceThroughDevice(int unit, int b, Tensor gradient) {
        if (alone && kept.stays(unit)) {
            Tensor here = buffer(b).slice(0, plan.paddedElements(unit));
            if (gradient == null) {
                ops.zero(here);
            }
            kept.put(unit, here);
            return Pending.DONE;
        }
        if (alone) {
            Device.Transfer copy = arrivals.take(unit, gradient, device.issued());
            return copy != null ? copy::join : () -> arrivals.await(unit);
        }
        long elements = plan.sliceElements(unit);
        Reduced other = ends[1 - end];
        boolean apart = other == null || elements + plan.sliceElements(other.unit) <= reduced.elements();
        // Copies leave one after the other: with the later one the earlier is over, too.
        Reduced before = apart ? ends[end] : other;
        if (before != null && before.copy == null) {
            arrivals.await(before.unit);
        }
        Tensor slice = reduced.slice(end == 0 ? 0 : reduced.elements() - elements, elements);
        Device.Transfer leaving = before == null || before.copy == null ? Device.Transfer.DONE : before.copy;
        Pending reduction = group.reduceScatter(slice, gradient, layout.types()[b], false, leaving);
        Device.Transfer copy = Device.Transfer.DONE;
        if (kept.stays(unit)) {
            kept.put(unit, slice);
        } else {
            copy = arrivals.take(unit, slice, reduction);
        }
        ends[end] = new Reduced(unit, copy);
        end = 1 - end;
        return reduction;
    }

    /** Room for the largest unit's slice, for those of two layers, so that one leaves while the next is reduced, and for all that stay. */
    private long reducedElements(List<UnitSpec> trained, TunedModel model) {
        long most = 0;
        long staying = 0;
        for (int u = 0; u < sums.length; u++) {
            int block = trained.get(u).block();
            boolean layer = block > 0 && block < model.blockCount() - 1;
            most = Math.max(most, (layer ? 2 : 1) * plan.sliceElements(u));
            staying += kept.stays(u) ? plan.sliceElements(u) : 0;
        }
        return Math.max(most, staying);
    }

    /** Of the unit's sum when a step's gradients are complete, in double precision. */
    double sumOfSquares(int unit) {
        if (kept.stays(unit)) {
            return kept.sumOfSquares(unit);
        }
        return staged ? arrivals.sumOfSquares(unit) : ops.sumOfSquares(sums[unit]);
    }

    /** Waits for every reduce-scatter, and until what is staged is on the host, but for what stays on the device. */
    void finishAll() {
        for (int b = 0; b < pending.length; b++) {
            finish(b);
        }
        for (int u = 0; staged && u < sums.length; u++) {
            arrivals.await(u);
        }
    }

    /** After {@link #finishAll}: until the observer is done with every unit. */
    void awaitObserver() {
        for (int u = 0; u < sums.length; u++) {
            arrivals.awaitObserver(u);
        }
    }

    /** Trained units in the order in which a step's gradients come, and in which they are to be updated. */
    int[] order() {
        return order;
    }

    /** Whether the unit's gradient is on the device, where the others' are the host's, until it is brought for its update. */
    boolean stays(int unit) {
        return kept.stays(unit);
    }

    /** The units that {@link #stays} tells of, in their order. */
    int[] staying() {
        return IntStream.of(order).filter(kept::stays).toArray();
    }

    /** The units whose sums make room for that of one that {@link #stays}, when they have been updated. */
    int[] lenders(int unit) {
        return kept.parts(unit).stream().mapToInt(KeptGradients.Part::lender).toArray();
    }

    /** Starts for the host, into the places of the {@link #lenders}' sums, which are free from now on. */
    void bring(int unit) {
        for (KeptGradients.Part part : kept.parts(unit)) {
            kept.bring(unit, part, place(part));
        }
    }

    /** fp32 [slice elements]: the sum over ranks and micro-batches, where it is before it is brought. */
    Tensor here(int unit) {
        return kept.stays(unit) ? kept.onDevice(unit) : sums[unit];
    }

    /** The {@link #places} when the sum is there; it has been brought if it stayed on the device. */
    List<Place> awaitPlaces(int unit) {
        kept.await(unit);
        return places(unit);
    }

    /** Where the sum is updated, free but within a step: one place, or several of other units'. */
    List<Place> places(int unit) {
        return kept.stays(unit)
                ? kept.parts(unit).stream()
                        .map(part -> new Place(part.from(), place(part)))
                        .toList()
                : List.of(new Place(0, sums[unit]));
    }

    private Tensor place(KeptGradients.Part part) {
        return sums[part.lender()].slice(0, part.count());
    }

    /** Ends the accounting of the buffers, which go with the group. */
    @Override
    public void close() {
        if (staged) {
            arrivals.close();
        }
        kept.close();
        for (Tensor buffer : buffers) {
            if (buffer != null && device.sharesHostMemory()) {
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
