package org.shardloom.worker.zero;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntFunction;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/**
 * Which trained units share a buffer for their gradients. Neighbouring layers use two sets of buffers by turns, so that one is reduced while
 * the next is filled; head and embedding, the first and the last of a backward pass, share one unless their weights are tied.
 *
 * @param bufferOf buffer by trained unit
 * @param padded by trained unit: whether a unit of another layout shares the buffer, whose values may stand in this one's padding
 * @param elements by buffer
 * @param types by buffer
 */
record BufferLayout(int[] bufferOf, boolean[] padded, long[] elements, DType[] types) {
    private static final Object EDGE = "embedding and head";

    private record LayerSlot(int turn, DType dtype, List<Long> layout) {}

    private record EdgeSlot(Object edge, DType dtype) {}

    /**
     * For the model's trained units.
     *
     * @param plan of the trained units
     * @param dtype of a trained unit's gradient
     */
    static BufferLayout of(TunedModel model, ShardPlan plan, IntFunction<DType> dtype) {
        List<UnitSpec> trained = model.trained();
        int[] bufferOf = new int[trained.size()];
        Map<Object, Integer> slots = new LinkedHashMap<>();
        Map<Integer, DType> types = new TreeMap<>();
        for (int u = 0; u < bufferOf.length; u++) {
            DType own = dtype.apply(u);
            bufferOf[u] = slots.computeIfAbsent(slot(trained.get(u), model, own), key -> slots.size());
            types.put(bufferOf[u], own);
        }
        boolean[] padded = new boolean[trained.size()];
        long[] elements = new long[slots.size()];
        slots.forEach((key, b) -> {
            for (int u = 0; u < bufferOf.length; u++) {
                if (bufferOf[u] == b) {
                    elements[b] = Math.max(elements[b], plan.paddedElements(u));
                    padded[u] = key instanceof EdgeSlot edge
                            && edge.edge == EDGE
                            && trained.get(u).block() != 0
                            && trained.get(0).block() == 0;
                }
            }
        });
        return new BufferLayout(bufferOf, padded, elements, types.values().toArray(DType[]::new));
    }

    /** Of buffers. */
    int count() {
        return elements.length;
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
}
