package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Hundreds of runs with random faults and wishes; {@link SimulatedRun} checks what must always hold. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class RunMachineRandomTest {
    private static final int RUNS = Integer.getInteger("shardloom.simulations", 600);
    private static final long FIRST = Long.getLong("shardloom.seed", 1);

    @Test
    void runsWithKillsScalesAndStopsEndInGoodOrder() {
        for (long seed = FIRST; seed < FIRST + RUNS; seed++) {
            try {
                simulate(seed);
            } catch (AssertionError | RuntimeException e) {
                throw new AssertionError("seed " + seed + " (-Dshardloom.seed=" + seed + ")", e);
            }
        }
        System.out.println("seeds " + FIRST + " to " + (FIRST + RUNS - 1));
    }

    private static void simulate(long seed) {
        Random chance = new Random(seed * 7919);
        boolean replacement = chance.nextInt(4) > 0;
        int kills = chance.nextInt(5);
        RunSettings settings = new RunSettings(
                1 + chance.nextInt(5),
                1,
                replacement,
                chance.nextInt(7),
                chance.nextInt(3) * 0.03,
                10_000,
                SimulatedRun.OUT,
                null);
        SimulatedRun run = new SimulatedRun(settings, 5 + chance.nextInt(40), seed);
        run.launchFailures = chance.nextInt(3) == 0 ? 0.2 : 0;
        run.detectMillis = chance.nextInt(4) == 0 ? 500 + chance.nextInt(1500) : chance.nextInt(60);
        run.survivorMillis = chance.nextInt(4) == 0 ? 5000 : chance.nextInt(100);
        run.disk.commitMillis = chance.nextInt(3) == 0 ? 300 : 5;
        run.disk.fileMillis = chance.nextInt(3) == 0 ? 300 : 5;
        run.disk.slowSaveMillis = chance.nextInt(3) == 0 ? 6000 : 0;
        run.begin();
        long horizon = 6000;
        for (int i = 0; i < kills; i++) {
            run.after(chance.nextInt((int) horizon), "random kill", () -> {
                List<SimulatedWorker> living =
                        run.workers.values().stream().filter(w -> w.alive).toList();
                if (!living.isEmpty()) {
                    run.kill(living.get(chance.nextInt(living.size())).id);
                }
            });
        }
        for (int i = chance.nextInt(5); i > 0; i--) {
            int count = 1 + chance.nextInt(6);
            run.after(chance.nextInt((int) horizon), "random scale", () -> run.scale(count));
        }
        if (chance.nextInt(4) == 0) {
            int begin = chance.nextInt((int) horizon);
            run.after(begin, "disk full", () -> run.disk.full = true);
            run.after(begin + 8000, "space again", () -> run.disk.full = false);
        }
        boolean stops = chance.nextInt(5) == 0;
        if (stops) {
            boolean immediately = chance.nextBoolean();
            run.after(chance.nextInt((int) horizon), "random stop", () -> run.stop(immediately));
        }
        Effect.End end = run.finish();
        if (end.success() && !end.message().startsWith("stopped")) {
            assertEquals(run.totalSteps, run.step(), run::tail);
            assertTrue(run.disk.complete.containsValue(run.totalSteps), run::tail);
        }
        assertTrue(stops || !end.message().startsWith("stopped"), run::tail);
        if (replacement && run.launchFailures == 0 && kills <= 2) {
            assertTrue(end.success(), run::tail);
        }
        assertTrue(run.now() < 600_000, run::tail);
    }
}
