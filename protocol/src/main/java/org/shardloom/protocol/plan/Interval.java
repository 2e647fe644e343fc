package org.shardloom.protocol.plan;

/**
 * Elements [from, to) of a unit's flat buffer.
 *
 * @param from first element
 * @param to past the last
 */
public record Interval(long from, long to) {
    public Interval {
        if (from < 0 || to < from) {
            throw new IllegalArgumentException("interval [" + from + ", " + to + ")");
        }
    }

    public long length() {
        return to - from;
    }

    public boolean isEmpty() {
        return to == from;
    }

    /** The common part; empty at {@code from} of the later one where there is none. */
    public Interval intersect(Interval other) {
        long start = Math.max(from, other.from);
        return new Interval(start, Math.max(start, Math.min(to, other.to)));
    }
}
