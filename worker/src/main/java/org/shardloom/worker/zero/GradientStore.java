package org.shardloom.worker.zero;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
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
 * this rank's slice over the step. Neighbouring layers use two sets of buffers by turns, so that one is reduced while the next is
 * filled; head and embedding, the first and the last of a backward pass, share one unless their weights are tied. Units are counted
 * among the trained ones.
 *
 * <p>Where the device has memory of its own, a unit's gradients have the training dtype. If the optimizer is on the host, their reduced
 * slice is fp32 on the device, in memory that serves one unit after the other, and the sums are the host's; else the sums are the device's.
 *
 * <p>A rank that is alone has nothing to reduce: the first micro-batch of a step fills the sums themselves, and there are buffers only
 * once a second one comes.
 */
final class GradientStore implements AutoCloseable {
    private static final Object EDGE = "embedding and head";

    /**
     * A unit's slice that was reduced.
     *
     * @param copy to the host, if that is a whole one; null where it goes in pieces
     */
    private record Reduced(int unit, Device.Transfer copy) {}

    private record LayerSlot(int turn, DType dtype, List<Long> layout) {}

    private record EdgeSlot(Object edge, DType dtype) {}

    private final Collectives group;
    private final ShardPlan plan;
    private final Device device;
    private final Ops ops;
    private final MemoryStatistics statistics;
    private final Tensor[] buffers;
    private final int[] bufferOf;
    /** Whether a unit of another layout shares the buffer, whose values may stand in this one's padding. */
    private final boolean[] padded;

    private final long[] bufferElements;
    private final DType[] bufferTypes;
    private final boolean alone;
    private final Pending[] pending;
    private final Tensor[] sums;
    private final boolean staged;
    private final Memory memory;
    private final Tensor reduced;
    /** Where gradients are staged, else null. */
    private final GradientArrivals arrivals;

    /** What the ends of that memory hold, the beginning and the end by turns. */
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
     */
    GradientStore(
            Collectives group,
            ShardPlan plan,
            TunedModel model,
            Device device,
            boolean staged,
            Memory memory,
            Memory hostMemory,
            DType dtype) {
        this.device = device;
        this.staged = staged;
        this.memory = memory;
        this.group = group;
        this.plan = plan;
        this.ops = device.ops();
        this.statistics = device.statistics();
        this.alone = group.size() == 1;
        List<UnitSpec> trained = model.trained();
        bufferOf = new int[trained.size()];
        Map<Object, Integer> slots = new LinkedHashMap<>();
        Map<Integer, DType> types = new TreeMap<>();
        for (int u = 0; u < bufferOf.length; u++) {
            DType own = !device.sharesHostMemory() && !alone && !trained.get(u).fp32() ? dtype : DType.F32;
            bufferOf[u] = slots.computeIfAbsent(slot(trained.get(u), model, own), key -> slots.size());
            types.put(bufferOf[u], own);
        }
        bufferTypes = types.values().toArray(DType[]::new);
        buffers = new Tensor[slots.size()];
        pending = new Pending[slots.size()];
        bufferElements = new long[slots.size()];
        padded = new boolean[bufferOf.length];
        slots.forEach((key, b) -> {
            long elements = 0;
            for (int u = 0; u < bufferOf.length; u++) {
                if (bufferOf[u] == b) {
                    elements = Math.max(elements, plan.paddedElements(u));
                    padded[u] = key instanceof EdgeSlot edge
                            && edge.edge == EDGE
                            && trained.get(u).block() != 0
                            && trained.get(0).block() == 0;
                }
            }
            bufferElements[b] = elements;
            if (!alone || staged) {
                buffer(b);
            }
        });
        sums = new Tensor[bufferOf.length];
        for (int u = 0; u < sums.length; u++) {
            sums[u] = (staged ? hostMemory : memory).allocate(DType.F32, plan.sliceElements(u));
            zero(sums[u]); // what stands in padding is never written where backward fills the sums, but it is read
        }
        reduced = staged && !alone ? memory.allocate(DType.F32, reducedElements(trained, model)) : null;
        arrivals = staged ? new GradientArrivals(device, hostMemory, sums) : null;
    }

    /** The buffer; that of a rank alone is there from its first use on. */
    private Tensor buffer(int b) {
        if (buffers[b] == null) {
            if (!device.sharesHostMemory()) {
                buffers[b] = memory.allocate(bufferTypes[b], bufferElements[b]);
            } else {
                buffers[b] = group.allocateShared(DType.F32, bufferElements[b]);
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

    /** Units with equal slots share a buffer. */
    private static Object slot(UnitSpec unit, TunedModel model, DType dtype) {
        int head = model.blockCount() - 1;
        if (unit.block() == 0 || unit.block() == head) {
            return new EdgeSlot(model.config().tiedEmbeddings() ? unit.name() : EDGE, dtype);
        }
        if (unit.block() == model.prefixBlock()) {
            return unit.name();
        }
        // Of one layout only: what stands in the padding between parameters must stay zero.
        List<Long> layout = unit.parameters().values().stream()
                .flatMap(p -> List.of(p.offset(), p.elements()).stream())
                .toList();
        return new LayerSlot(unit.block() % 2, dtype, layout);
    }

    /** The first micro-batch of a step overwrites the sums, later ones add, the last completes them. */
    void beginRound(boolean first, boolean last) {
        accumulate = !first;
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
        int b = bufferOf[unit];
        finish(b);
        Tensor buffer = buffer(b).slice(0, plan.paddedElements(unit));
        if (padded[unit]) {
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
        int b = bufferOf[unit];
        Tensor gradient = nothing ? null : buffer(b).slice(0, plan.paddedElements(unit));
        pending[b] = staged
                ? reduceThroughDevice(unit, b, gradient)
                : group.reduceScatter(sums[unit], gradient, bufferTypes[b], accumulate);
    }

    /** The reduced slice is on its way to the host when the device has it. */
    private Pending reduceThroughDevice(int unit, int b, Tensor gradient) {
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
        Pending reduction = group.reduceScatter(slice, gradient, bufferTypes[b], false, leaving);
        ends[end] = new Reduced(unit, arrivals.take(unit, slice, reduction));
        end = 1 - end;
        return reduction;
    }

    /** Room for the largest unit's slice, and for those of two layers, so that one leaves while the next is reduced. */
    private long reducedElements(List<UnitSpec> trained, TunedModel model) {
        long most = 0;
        for (int u = 0; u < sums.length; u++) {
            int block = trained.get(u).block();
            boolean layer = block > 0 && block < model.blockCount() - 1;
            most = Math.max(most, (layer ? 2 : 1) * sums[u].elements());
        }
        return most;
    }

    /** Of the unit's sum when a step's gradients are complete, in double precision. */
    double sumOfSquares(int unit) {
        return staged ? arrivals.sumOfSquares(unit) : ops.sumOfSquares(sums[unit]);
    }

    /** Waits for every reduce-scatter, and until what is staged is on the host. */
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

    /** fp32 [slice elements]: the sum over ranks and micro-batches. */
    Tensor sum(int unit) {
        return sums[unit];
    }

    /** Ends the accounting of the buffers, which go with the group. */
    @Override
    public void close() {
        if (staged) {
            arrivals.close();
        }
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
