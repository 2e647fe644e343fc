package org.shardloom.coordinator.run;

/** Ends training once evaluations have not found a lower loss for long enough. */
final class EarlyStop {
    private final int patience;
    private EvaluationHistory history;
    private boolean over;

    EarlyStop(int patience, EvaluationHistory history) {
        this.patience = patience;
        this.history = history;
        this.over = patience > 0 && history.worse() >= patience;
    }

    /** Says so where a resumed run has been at its end before. */
    void begin(RunStatus status) {
        if (over) {
            status.notice(
                    false,
                    history.worse() + " evaluations in a row up to step " + history.lastStep()
                            + " found no lower loss than that after step " + history.bestStep()
                            + ": the run ends; to go on set evaluation.patience higher");
        }
    }

    /** Takes note of an evaluation. Steps that a recovered run does again have been judged already. */
    void evaluated(StepEvaluation evaluation, RunStatus status) {
        if (evaluation == null || evaluation.step() <= history.lastStep() || !Double.isFinite(evaluation.loss())) {
            return;
        }
        history = history.with(evaluation.step(), evaluation.loss());
        if (patience > 0 && history.worse() == patience) {
            over = true;
            status.notice(
                    false,
                    "training ends after step " + history.lastStep() + ": " + patience
                            + " evaluations in a row found no lower loss than that after step " + history.bestStep()
                            + "; final/ is the model of the last step, checkpoint-" + history.bestStep()
                            + " that of the best, where it was kept (checkpoint.keep_best)");
        }
    }

    /** For the next checkpoint. */
    EvaluationHistory history() {
        return history;
    }

    /** Whether training has come to its end with that step. */
    boolean isOver(long step) {
        return over && step >= history.lastStep();
    }
}
