package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.RunStep;
import org.shardloom.protocol.message.WorkerMessage.SaveCheckpoint;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;

/** What must hold of every run: steps in order, none lost or done twice, generations that go on from the last checkpoint. */
final class RunInvariants {
    private final SimulatedRun run;
    private long expectedStep = 1;
    private int inFlight;

    RunInvariants(SimulatedRun run) {
        this.run = run;
    }

    /** A worker is told something. */
    void told(Effect.Tell tell) {
        if (tell.message() instanceof StartGeneration m) {
            inFlight = 0;
            if (run.generations.isEmpty()
                    || run.generations.get(run.generations.size() - 1).generation() != m.generation()) {
                long before = run.generations.isEmpty()
                        ? 0
                        : run.generations.get(run.generations.size() - 1).generation();
                assertTrue(m.generation() > before, "a generation that does not increase");
                run.generations.add(m);
                if (m.checkpoint() != null && m.origin() != Origin.RESHARD) {
                    assertEquals(
                            run.disk.lastCommitted(), run.disk.complete.get(m.checkpoint()), "not the last checkpoint");
                    expectedStep = run.disk.lastCommitted() + 1;
                } else if (m.checkpoint() == null) {
                    assertEquals(-1, run.disk.lastCommitted(), "a checkpoint is ignored");
                    expectedStep = m.origin() == Origin.START ? 1 : m.state().step() + 1;
                }
            }
        } else if (tell.message() instanceof RunStep m) {
            assertEquals(expectedStep, m.step(), "a step out of order");
            assertEquals(m.generation(), run.machine.view().generation());
            inFlight++;
            assertTrue(inFlight <= run.ranked());
        } else if (tell.message() instanceof SaveCheckpoint m) {
            assertEquals(0, inFlight, "a checkpoint while a step is in flight");
            assertEquals(expectedStep - 1, m.step());
        }
    }

    /** A worker has stopped before a step's update. */
    void refused() {
        inFlight--;
    }

    /** A step is done, as far as people know. */
    void published(StepMetrics metrics) {
        assertEquals(expectedStep, metrics.step(), "a step lost or done twice");
        assertEquals(metrics.workers(), inFlight, "a step without all its workers");
        inFlight = 0;
        expectedStep++;
        run.published.add(metrics);
    }
}
