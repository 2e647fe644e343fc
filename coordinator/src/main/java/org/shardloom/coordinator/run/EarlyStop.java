package org.shardloom.coordinator.run;

/** Ends training once evaluations have not found a lower loss for long enough. */
final class EarlyStop {
    private final int patience;
    private double best = Double.POSITIVE_INFINITY;
    private long bestStep;
    private long lastStep;
    private int worse;
    private long endStep = Long.MAX_VALUE;

    EarlyStop(int patience) {
        this.patience = patience;
    }

    /** Takes note of an evaluation. Steps that a recovered run does again have been judged already. */
    void evaluated(StepEvaluation evaluation, RunStatus status) {
        if (patience == 0
                || evaluation == null
                || evaluation.step() <= lastStep
                || !Double.isFinite(evaluation.loss())) {
            return;
        }
        lastStep = evaluation.step();
        if (evaluation.loss() < best) {
            best = evaluation.loss();
            bestStep = evaluation.step();
            worse = 0;
        } else if (++worse == patience) {
            endStep = evaluation.step();
            status.notice(
                    false,
                    "training ends after step " + endStep + ": " + worse
                            + " evaluations in a row found no lower loss than that after step " + bestStep);
        }
    }

    /** Whether training has come to its end with that step. */
    boolean isOver(long step) {
        return step >= endStep;
    }
}
