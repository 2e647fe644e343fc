package org.shardloom.coordinator.run;

import java.util.List;

/** What people are told about a run at any time. */
public record RunView(
        RunState state,
        String detail,
        long step,
        long totalSteps,
        double loss,
        long generation,
        int wantedWorkers,
        List<WorkerInfo> workers) {}
