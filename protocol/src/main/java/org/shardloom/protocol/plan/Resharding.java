package org.shardloom.protocol.plan;

import java.util.ArrayList;
import java.util.List;

/** What moves when a model goes from one shard plan to another. */
public final class Resharding {
    private Resharding() {}

    /**
     * One interval of a unit that changes hands, or stays where it is when {@code source} and {@code target} are one member.
     *
     * @param unit index of the unit
     * @param interval of its flat buffer
     * @param sourceRank owner under the old plan
     * @param targetRank owner under the new plan
     */
    public record Transfer(int unit, Interval interval, int sourceRank, int targetRank) {}

    /**
     * Every interval with its old and new owner, ordered by unit and position; the intervals of a unit cover it once.
     *
     * @throws IllegalArgumentException when the plans are of different models
     */
    public static List<Transfer> between(ShardPlan before, ShardPlan after) {
        if (!before.units().equals(after.units())) {
            throw new IllegalArgumentException("the plans have different units");
        }
        List<Transfer> transfers = new ArrayList<>();
        for (int unit = 0; unit < before.units().size(); unit++) {
            for (int source = 0; source < before.worldSize(); source++) {
                for (int target = 0; target < after.worldSize(); target++) {
                    Interval common = before.owned(unit, source).intersect(after.owned(unit, target));
                    if (!common.isEmpty()) {
                        transfers.add(new Transfer(unit, common, source, target));
                    }
                }
            }
        }
        return transfers;
    }
}
