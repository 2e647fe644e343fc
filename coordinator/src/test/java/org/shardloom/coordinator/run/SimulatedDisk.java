package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;

/** The output directory, and the coordinator's thread that writes in it: one work after the other. */
final class SimulatedDisk {
    /** Directories of checkpoints that are being written, with the files in them; a new list for every attempt. */
    final Map<String, List<String>> unfinished = new HashMap<>();
    /** Complete checkpoints and their steps. */
    final Map<String, Long> complete = new HashMap<>();
    /** Steps of checkpoints, as they were committed. */
    final List<Long> committed = new ArrayList<>();
    /** Knobs. No space for what is tried now; sometimes that shows late. */
    boolean full;

    long fileMillis = 5;
    long commitMillis = 5;
    long slowSaveMillis;

    private final SimulatedRun run;
    private long freeAt;
    private long lastCommitted = -1;

    SimulatedDisk(SimulatedRun run, String resume) {
        this.run = run;
        if (resume != null) {
            lastCommitted = Long.parseLong(resume.substring(resume.lastIndexOf('-') + 1));
            complete.put(resume, lastCommitted);
        }
    }

    /** Step of the last checkpoint, or -1. */
    long lastCommitted() {
        return lastCommitted;
    }

    void prepare(long step) {
        work(fileMillis, "prepare " + step, () -> {
            if (full && run.random.nextInt(3) == 0) {
                answer("prepare failed", () -> run.apply(t -> run.machine.checkpointFailed(step, true, "no space", t)));
                return;
            }
            unfinished.put(temporary(step), new ArrayList<>());
            answer("prepared " + step, () -> run.apply(t -> run.machine.checkpointPrepared(step, temporary(step), t)));
        });
    }

    void commit(Effect.CommitCheckpoint e) {
        long step = e.state().step();
        work(commitMillis, "commit " + step, () -> {
            List<String> files = unfinished.remove(temporary(step));
            assertNotNull(files, () -> "the directory was removed before it was committed\n" + run.tail());
            assertEquals(e.worldSize(), files.size(), "shards missing or of another attempt");
            assertEquals(e.worldSize(), e.shards().size());
            for (ShardWritten shard : e.shards()) {
                assertTrue(files.contains(shard.file()), "a shard that is not there");
            }
            String directory = SimulatedRun.OUT + "/checkpoint-" + step;
            complete.clear(); // keep_last: 1
            complete.put(directory, step);
            lastCommitted = step;
            committed.add(step);
            answer("committed " + step, () -> run.apply(t -> run.machine.checkpointCommitted(step, directory, t)));
        });
    }

    void discard(long step) {
        work(1, "discard " + step, () -> unfinished.remove(temporary(step)));
    }

    private static String temporary(long step) {
        return SimulatedRun.OUT + "/checkpoint-" + step + ".writing";
    }

    private void work(long millis, String what, Runnable work) {
        freeAt = Math.max(run.now(), freeAt) + millis;
        run.timeline.at(freeAt, what, work);
    }

    private void answer(String what, Runnable tell) {
        run.send("files", what, tell);
    }
}
