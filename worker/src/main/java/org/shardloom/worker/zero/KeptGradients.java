package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.TunedModel;

/**
 * The gradients that a backward pass ends with, of steps of one micro-batch: nothing comes after them that needs their place on the device,
 * where they stay until their units are updated. Then they take the places that other units' sums had on the host, which have been updated
 * before. So the host never needs room for the sums of all units: the embedding's, often the largest, is not among them. The engine's thread.
 */
final class KeptGradients {
    /** How many stay: the lowest layer's and the embedding's, where all is trained. */
    private static final int MOST = 2;

    /**
     * Part of a gradient that stays, which takes another's place.
     *
     * @param from its first element
     * @param lender the unit in whose place it comes to the host
     */
    record Part(long from, long count, int lender) {}

    private final Device device;
    private final int[] order;
    private final List<List<Part>> parts = new ArrayList<>();
    private final Tensor[] slices;
    private final Double[] squares;
    private final Device.Transfer[] coming;

    private KeptGradients(Device device, int[] order) {
        this.device = device;
        this.order = order;
        this.slices = new Tensor[order.length];
        this.squares = new Double[order.length];
        this.coming = new Device.Transfer[order.length];
        for (int u = 0; u < order.length; u++) {
            parts.add(List.of());
        }
    }

    /**
     * Chooses those that stay: the last ones, as far as others lend them their places.
     *
     * @param elements of the slices, by trained unit
     * @param bufferOf where gradients are not reduced but stay in the buffer that backward fills: it, by trained unit; else null
     */
    static KeptGradients of(Device device, TunedModel model, long[] elements, int[] bufferOf) {
        KeptGradients kept = new KeptGradients(device, order(model));
        int others = kept.order.length - MOST;
        // Not the last of the others: those that stay come while that one is updated.
        List<Integer> lenders = new ArrayList<>(IntStream.range(0, Math.max(0, others - 1))
                .mapToObj(at -> kept.order[at])
                .sorted(Comparator.comparing(u -> -elements[u]))
                .toList());
        for (int at = kept.order.length - 1; at >= Math.max(0, others); at--) {
            int unit = kept.order[at];
            List<Part> lent = lend(elements, unit, lenders);
            if (lent.isEmpty() || bufferOf != null && kept.isFilledAgain(bufferOf, at)) {
                break;
            }
            kept.parts.set(unit, lent);
        }
        return kept;
    }

    /** None stays. */
    static KeptGradients none(Device device, TunedModel model) {
        return new KeptGradients(device, order(model));
    }

    /** Trained units in the order in which a backward pass completes their gradients: head, layers from the top, embedding, prefix. */
    private static int[] order(TunedModel model) {
        Comparator<Integer> prefixLast =
                Comparator.comparing(u -> model.trained().get(u).block() == model.prefixBlock());
        Comparator<Integer> fromTheTop =
                Comparator.comparing(u -> -model.trained().get(u).block());
        return IntStream.range(0, model.trained().size())
                .boxed()
                .sorted(prefixLast.thenComparing(fromTheTop))
                .mapToInt(Integer::intValue)
                .toArray();
    }

    private boolean isFilledAgain(int[] bufferOf, int at) {
        return IntStream.range(at + 1, order.length).anyMatch(later -> bufferOf[order[later]] == bufferOf[order[at]]);
    }

    /**
     * Places for the unit, of lenders that lend no more: of the smallest that has room, else of the largest; none where they have no room.
     *
     * @param lenders the largest first
     */
    private static List<Part> lend(long[] elements, int unit, List<Integer> lenders) {
        List<Part> lent = new ArrayList<>();
        long from = 0;
        while (from < elements[unit] && !lenders.isEmpty()) {
            long missing = elements[unit] - from;
            long withRoom = lenders.stream().filter(u -> elements[u] >= missing).count();
            int lender = lenders.remove((int) Math.max(0, withRoom - 1));
            long count = Math.min(elements[lender], elements[unit] - from);
            lent.add(new Part(from, count, lender));
            from += count;
        }
        return from < elements[unit] ? List.of() : lent;
    }

    /** Trained units in the order in which their gradients come, and are updated: those that stay are the last. */
    int[] order() {
        return order;
    }

    boolean stays(int unit) {
        return !parts.get(unit).isEmpty();
    }

    /** Of the unit's gradient: together the whole, if it stays. */
    List<Part> parts(int unit) {
        return parts.get(unit);
    }

    /** The unit's gradient is complete when what was issued so far is; its place is left as it is until the unit is updated. */
    void put(int unit, Tensor slice) {
        slices[unit] = slice;
        squares[unit] = null;
    }

    /** fp32 [slice elements] on the device. */
    Tensor onDevice(int unit) {
        return slices[unit];
    }

    /** In double precision; what has been issued is waited for. */
    double sumOfSquares(int unit) {
        if (squares[unit] == null) {
            squares[unit] = device.ops().sumOfSquares(slices[unit]);
        }
        return squares[unit];
    }

    /** Starts for the host. */
    void bring(int unit, Part part, Tensor place) {
        Tensor leaving = slices[unit].slice(part.from, part.count);
        coming[unit] = device.toHost(place, leaving, device.issued()); // after those before it
    }

    /** Waits until the unit's gradient, if it was brought, has come. */
    void await(int unit) {
        if (coming[unit] != null) {
            coming[unit].await();
            coming[unit] = null;
        }
    }
}
