package org.shardloom.protocol.plan;

import com.fasterxml.jackson.annotation.JsonCreator;

/**
 * A unit of a model as sharding sees it.
 *
 * @param name for messages and files: {@code embedding}, {@code layers.3}, {@code head}
 * @param elements of its flat buffer before padding to the world size
 * @param granularity slices are multiples of so many elements
 */
public record UnitSize(String name, long elements, long granularity) {
    @JsonCreator
    public UnitSize {
        if (granularity < 1) {
            throw new IllegalArgumentException("slices in steps of " + granularity + " elements");
        }
    }

    /** Cut at cache lines. */
    public UnitSize(String name, long elements) {
        this(name, elements, ShardPlan.ALIGNMENT);
    }
}
