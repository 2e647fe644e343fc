package org.shardloom.coordinator.run;

/** Ends training once evaluations have not found a lower loss for long enough. */
final class EarlyStop {
    private final int patience;
    private double best = Double.POSITIVE_INFINITY;
    private long bestStep;
    private int worse;
    private boolean over;

    EarlyStop(int patience) {
        this.patience = patience;
    }

    /** Takes note of an evaluation; of a step that was evaluated before, when a run has recovered, too. */
    void evaluated(StepEvaluation evaluation, RunStatus status) {
        if (patience == 0 || over || evaluation == null || !Double.isFinite(evaluation.loss())) {
            return;
        }
        if (evaluation.loss() < best) {
            best = evaluation.loss();
            bestStep = evaluation.step();
            worse = 0;
        } else if (evaluation.step() > bestStep && ++worse >= patience) {
            over = true;
            status.notice(
                    false,
                    "training ends after step " + evaluation.step() + ": " + worse
                            + " evaluations in a row found no lower loss than that after step " + bestStep);
        }
    }

    boolean isOver() {
        return over;
    }
}
