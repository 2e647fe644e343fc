package org.shardloom.coordinator.run;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** One collective operation: it ends when all have come, and fails when one that must come has died. */
final class SimulatedGroup {
    private final SimulatedRun run;
    private final Set<Integer> members;
    private final Set<Integer> dead = new HashSet<>();
    private final Map<Integer, Runnable> successes = new HashMap<>();
    private final Map<Integer, Runnable> failures = new HashMap<>();
    private final Set<Integer> over = new HashSet<>();
    private boolean complete;

    SimulatedGroup(SimulatedRun run, Set<Integer> members) {
        this.run = run;
        this.members = members;
        members.stream().filter(id -> !run.workers.get(id).alive).forEach(dead::add);
    }

    void join(int id, long millis, Runnable success, Runnable failure) {
        successes.put(id, success);
        failures.put(id, failure);
        if (!dead.isEmpty()) {
            fail(id);
        } else if (successes.keySet().containsAll(members)) {
            complete = true;
            for (int member : members) {
                run.after(millis + run.random.nextInt(10), "done by " + member, () -> {
                    if (over.add(member)) {
                        successes.get(member).run();
                    }
                });
            }
        }
    }

    void died(int id) {
        if (members.contains(id) && !(complete && over.contains(id))) {
            dead.add(id);
            over.add(id);
            successes.keySet().forEach(this::fail);
        }
    }

    private void fail(int id) {
        run.after(run.survivorMillis + run.random.nextInt(20), "peer's death shows at " + id, () -> {
            if (over.add(id)) {
                failures.get(id).run();
            }
        });
    }

    /** The member gives up. */
    void leave(int id) {
        over.add(id);
    }
}
