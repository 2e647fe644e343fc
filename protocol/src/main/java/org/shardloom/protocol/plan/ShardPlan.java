package org.shardloom.protocol.plan;

import java.util.List;

/**
 * How the units of a model are cut over ranks: each unit is padded to a multiple of the world size, in steps of its
 * granularity, and rank r owns slice r. Elements past a unit's end are padding that no checkpoint holds.
 *
 * <p>Example: a unit of 100 elements over 3 ranks has slices of 64: rank 0 owns [0, 64), rank 1 [64, 100), rank 2 nothing
 * but padding.
 *
 * @param worldSize number of ranks
 * @param units in the order of the forward pass
 */
public record ShardPlan(int worldSize, List<UnitSize> units) {
    /** Slices are multiples of this many elements where a unit does not ask for more, so that they start on cache lines in any dtype. */
    public static final long ALIGNMENT = 64;

    public ShardPlan {
        if (worldSize < 1) {
            throw new IllegalArgumentException("a world of " + worldSize + " ranks");
        }
        units = List.copyOf(units);
    }

    /** Elements of every rank's slice of the unit, padding included. */
    public long sliceElements(int unit) {
        long perRank = (units.get(unit).elements() + worldSize - 1) / worldSize;
        long step = units.get(unit).granularity();
        return (perRank + step - 1) / step * step;
    }

    /** Elements of the whole unit, padding included. */
    public long paddedElements(int unit) {
        return sliceElements(unit) * worldSize;
    }

    /** What the rank owns of the unit, without padding; may be empty. */
    public Interval owned(int unit, int rank) {
        long elements = units.get(unit).elements();
        long slice = sliceElements(unit);
        return new Interval(Math.min(elements, slice * rank), Math.min(elements, slice * (rank + 1)));
    }

    /** Elements that the rank owns over all units, padding included. */
    public long ownedElements() {
        long sum = 0;
        for (int u = 0; u < units.size(); u++) {
            sum += sliceElements(u);
        }
        return sum;
    }
}
