package org.shardloom.coordinator.run;

/** Who wants to know how a run goes: progress on a terminal, logs. Called by the coordinator's actor; must not block. */
public interface RunListener {
    /** The output directory is this run's from now on. */
    default void onOwned() {}

    void onNotice(boolean warning, String text);

    void onStep(StepMetrics metrics);

    void onState(RunView view);
}
