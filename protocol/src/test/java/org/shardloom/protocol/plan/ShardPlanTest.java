package org.shardloom.protocol.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class ShardPlanTest {
    private static final int ROUNDS = 200;

    private static List<UnitSize> randomUnits(Random random) {
        List<UnitSize> units = new ArrayList<>();
        int count = 1 + random.nextInt(6);
        for (int i = 0; i < count; i++) {
            int kind = random.nextInt(4);
            long elements =
                    kind == 0 ? random.nextInt(70) : kind == 1 ? 64L * random.nextInt(40) : random.nextInt(100_000);
            units.add(new UnitSize("unit" + i, kind == 3 ? elements * 1_000_000L : elements));
        }
        return units;
    }

    @Test
    void aHundredElementsOverThreeRanksAreCutAtCacheLines() {
        ShardPlan plan = new ShardPlan(3, List.of(new UnitSize("u", 100)));
        assertEquals(64, plan.sliceElements(0));
        assertEquals(192, plan.paddedElements(0));
        assertEquals(new Interval(0, 64), plan.owned(0, 0));
        assertEquals(new Interval(64, 100), plan.owned(0, 1));
        assertTrue(plan.owned(0, 2).isEmpty());
        assertEquals(64, plan.ownedElements());
    }

    @Test
    void theRanksOwnEveryElementOnceInOrder() {
        long seed = System.nanoTime();
        System.out.println("seed " + seed);
        Random random = new Random(seed);
        for (int round = 0; round < ROUNDS; round++) {
            List<UnitSize> units = randomUnits(random);
            for (int world = 1; world <= 6; world++) {
                ShardPlan plan = new ShardPlan(world, units);
                for (int u = 0; u < units.size(); u++) {
                    long next = 0;
                    assertEquals(0, plan.sliceElements(u) % ShardPlan.ALIGNMENT);
                    assertEquals(plan.sliceElements(u) * world, plan.paddedElements(u));
                    assertTrue(plan.paddedElements(u) >= units.get(u).elements());
                    assertTrue(plan.paddedElements(u) - units.get(u).elements() < (ShardPlan.ALIGNMENT + 1) * world);
                    for (int rank = 0; rank < world; rank++) {
                        Interval owned = plan.owned(u, rank);
                        assertEquals(next, owned.from(), "seed " + seed);
                        assertTrue(owned.length() <= plan.sliceElements(u));
                        next = owned.to();
                    }
                    assertEquals(units.get(u).elements(), next, "seed " + seed);
                }
            }
        }
    }

    @Test
    void transfersBetweenAnyTwoWorldsCoverEveryElementOnceFromOwnerToOwner() {
        long seed = System.nanoTime();
        System.out.println("seed " + seed);
        Random random = new Random(seed);
        for (int round = 0; round < ROUNDS; round++) {
            List<UnitSize> units = randomUnits(random);
            for (int from = 1; from <= 6; from++) {
                for (int to = 1; to <= 6; to++) {
                    check(new ShardPlan(from, units), new ShardPlan(to, units), "seed " + seed);
                }
            }
        }
    }

    private static void check(ShardPlan before, ShardPlan after, String seed) {
        List<Resharding.Transfer> transfers = Resharding.between(before, after);
        int unit = 0;
        long next = 0;
        for (Resharding.Transfer t : transfers) {
            while (t.unit() != unit) {
                assertEquals(before.units().get(unit).elements(), next, seed);
                unit++;
                next = 0;
            }
            assertFalse(t.interval().isEmpty(), seed);
            assertEquals(next, t.interval().from(), seed);
            next = t.interval().to();
            assertEquals(t.interval(), before.owned(unit, t.sourceRank()).intersect(t.interval()), seed);
            assertEquals(t.interval(), after.owned(unit, t.targetRank()).intersect(t.interval()), seed);
        }
        assertEquals(before.units().get(unit).elements(), next, seed);
        for (int rest = unit + 1; rest < before.units().size(); rest++) {
            assertEquals(0, before.units().get(rest).elements(), seed);
        }
        if (before.worldSize() == after.worldSize()) {
            assertTrue(transfers.stream().allMatch(t -> t.sourceRank() == t.targetRank()), seed);
        }
    }

    @Test
    void goingFromTwoRanksToThreeMovesTheUpperParts() {
        List<UnitSize> units = List.of(new UnitSize("u", 384));
        assertEquals(
                List.of(
                        new Resharding.Transfer(0, new Interval(0, 128), 0, 0),
                        new Resharding.Transfer(0, new Interval(128, 192), 0, 1),
                        new Resharding.Transfer(0, new Interval(192, 256), 1, 1),
                        new Resharding.Transfer(0, new Interval(256, 384), 1, 2)),
                Resharding.between(new ShardPlan(2, units), new ShardPlan(3, units)));
    }

    @Test
    void plansOfDifferentModelsAndImpossibleWorldsAreRefused() {
        ShardPlan one = new ShardPlan(1, List.of(new UnitSize("u", 1)));
        ShardPlan other = new ShardPlan(1, List.of(new UnitSize("u", 2)));
        assertThrows(IllegalArgumentException.class, () -> Resharding.between(one, other));
        assertThrows(IllegalArgumentException.class, () -> new ShardPlan(0, List.of()));
    }

    @Test
    void intervalsIntersectInTheirCommonPart() {
        Interval a = new Interval(2, 10);
        assertEquals(new Interval(5, 10), a.intersect(new Interval(5, 20)));
        assertEquals(new Interval(3, 4), a.intersect(new Interval(3, 4)));
        assertTrue(a.intersect(new Interval(10, 12)).isEmpty());
        assertTrue(new Interval(12, 15).intersect(a).isEmpty());
        assertEquals(8, a.length());
        assertThrows(IllegalArgumentException.class, () -> new Interval(-1, 2));
        assertThrows(IllegalArgumentException.class, () -> new Interval(3, 2));
    }

    @Test
    void everyMicroBatchOfAStepIsDoneByOneRank() {
        for (int batches = 0; batches <= 40; batches++) {
            for (int world = 1; world <= 9; world++) {
                int[] doneBy = new int[batches];
                int most = 0;
                for (int rank = 0; rank < world; rank++) {
                    StepShares share = new StepShares(batches, world, rank);
                    for (int m : share.own()) {
                        doneBy[m]++;
                    }
                    most = Math.max(most, share.own().length);
                }
                assertTrue(Arrays.stream(doneBy).allMatch(times -> times == 1), batches + " over " + world);
                assertEquals(most, new StepShares(batches, world, 0).rounds(), batches + " over " + world);
            }
        }
        assertArrayEquals(new int[] {1, 3, 5}, new StepShares(7, 2, 1).own());
    }

    @Test
    void microBatchesGoRoundByRoundInSampleOrder() {
        List<Integer> order = new ArrayList<>();
        for (int round = 0; round < new StepShares(7, 3, 0).rounds(); round++) {
            for (int rank = 0; rank < 3; rank++) {
                int[] own = new StepShares(7, 3, rank).own();
                if (round < own.length) {
                    order.add(own[round]);
                }
            }
        }
        assertEquals(List.of(0, 1, 2, 3, 4, 5, 6), order);
    }
}
