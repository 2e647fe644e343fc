package org.shardloom.worker.zero;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The gradients that a backward pass ends with, of steps of one micro-batch: nothing comes after them that needs their place on the device,
 * where they stay until their units are updated. Then they take the places that other units' sums had on the host, which have been updated
 * before. So the host never needs room for the sums of all units: the embedding's, often the largest, is not among them. Units are counted
 * among the trained ones. Used by one thread at a time.
 */
final class KeptGradients implements AutoCloseable {
    /** The lowest layer's and the embedding's, where all is trained. They stay at the two ends of the memory that gradients are reduced to. */
    private static final int MOST = 2;

    private static final Logger LOG = LoggerFactory.getLogger(KeptGradients.class);

    /**
     * Part of a gradient that stays, which takes another's place.
     *
     * @param from its first element
     * @param lender the unit in whose place it comes to the host
     */
    record Part(long from, long count, int lender) {}

    private static final class Kept {
        final List<Part> parts;
        Tensor slice;
        /** Of the slice, once they are known. */
        Double squares;
        /** The last part, after which all are there. */
        Device.Transfer coming;

        Kept(List<Part> parts) {
            this.parts = parts;
        }
    }

    private final Device device;
    /** By unit; null where it does not stay. */
    private final Kept[] units;

    private KeptGradients(Device device, int units) {
        this.device = device;
        this.units = new Kept[units];
    }

    /**
     * Chooses those that stay: the last ones, as far as others lend them their places.
     *
     * @param order of the units in a backward pass, in which they are updated, too
     * @param elements of the slices, by unit
     * @param bufferOf where gradients are not reduced but stay in the buffer that backward fills: it, by unit; else null
     */
    static KeptGradients of(Device device, int[] order, long[] elements, int[] bufferOf) {
        KeptGradients kept = new KeptGradients(device, order.length);
        int others = order.length - MOST;
        // Not the last of the others: those that stay come while that one is updated.
        List<Integer> lenders = new ArrayList<>(
                IntStream.of(order).limit(Math.max(0, others - 1)).boxed().toList());
        for (int at = order.length - 1; at >= Math.max(0, others); at--) {
            List<Part> lent = lend(elements, order[at], lenders);
            if (lent.isEmpty() || bufferOf != null && isFilledAgain(order, bufferOf, at)) {
                break;
            }
            kept.units[order[at]] = new Kept(lent);
        }
        return kept;
    }

    /** None stays. */
    static KeptGradients none(Device device, int units) {
        return new KeptGradients(device, units);
    }

    private static boolean isFilledAgain(int[] order, int[] bufferOf, int at) {
        return IntStream.range(at + 1, order.length).anyMatch(later -> bufferOf[order[later]] == bufferOf[order[at]]);
    }

    /**
     * Places for the unit, of lenders that lend no more: of the smallest that has room, else of the largest; none where they have no room.
     *
     * @param lenders in the order in which they are updated: among equals the first is done with its place first
     */
    private static List<Part> lend(long[] elements, int unit, List<Integer> lenders) {
        List<Part> lent = new ArrayList<>();
        long from = 0;
        while (from < elements[unit] && !lenders.isEmpty()) {
            long missing = elements[unit] - from;
            Comparator<Integer> bySize = Comparator.comparing(u -> elements[u]);
            Integer lender = lenders.stream()
                    .filter(u -> elements[u] >= missing)
                    .min(bySize)
                    .orElseGet(() -> lenders.stream().max(bySize).orElseThrow());
            lenders.remove(lender);
            long count = Math.min(elements[lender], missing);
            lent.add(new Part(from, count, lender));
            from += count;
        }
        return from < elements[unit] ? List.of() : lent;
    }

    boolean stays(int unit) {
        return units[unit] != null;
    }

    /** Of the gradient of a unit that {@link #stays}: together the whole. */
    List<Part> parts(int unit) {
        return units[unit].parts;
    }

    /** The unit's gradient is complete when what was issued so far is; its place is left as it is until the unit is updated. */
    void put(int unit, Tensor slice) {
        units[unit].slice = slice;
        units[unit].squares = null;
    }

    /** fp32 [slice elements] on the device. */
    Tensor onDevice(int unit) {
        return units[unit].slice;
    }

    /** In double precision; what has been issued is waited for. */
    double sumOfSquares(int unit) {
        Kept kept = units[unit];
        if (kept.squares == null) {
            kept.squares = device.ops().sumOfSquares(kept.slice);
        }
        return kept.squares;
    }

    /** Starts a part for the host. */
    void bring(int unit, Part part, Tensor place) {
        Kept kept = units[unit];
        kept.coming = device.toHost(place, kept.slice.slice(part.from, part.count), device.issued());
    }

    /** Waits until the unit's gradient, if it was brought, has come. */
    void await(int unit) {
        Kept kept = units[unit];
        if (kept != null && kept.coming != null) {
            kept.coming.await();
            kept.coming = null;
        }
    }

    /** Waits for what is under way, also where a step has failed: its places are about to be others'. */
    @Override
    public void close() {
        for (int u = 0; u < units.length; u++) {
            try {
                await(u);
            } catch (RuntimeException e) {
                // It has ended, and what it brought is of no use any more.
                LOG.debug("a copy ended with a failed step", e);
            }
        }
    }
}
