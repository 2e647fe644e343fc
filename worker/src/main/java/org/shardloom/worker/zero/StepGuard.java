package org.shardloom.worker.zero;

import java.util.Locale;
import java.util.Optional;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.message.GuardState;

/**
 * Looks at each step before its update: a loss that collapses to nothing, a gradient that explodes or vanishes, an fp16 scale that cannot
 * fall any further. An explosion is judged by a moving average over the steps; a collapse by the lowest of late, for a model that learns its few samples by
 * heart comes to nothing, too, but step by step, and among others that are new to it. All ranks see the same numbers and decide alike; what is usual goes with the
 * {@link org.shardloom.protocol.message.TrainingState} into checkpoints and to other ranks.
 */
final class StepGuard {
    /** Steps before any norm is usual. */
    private static final int WARM_UP = 20;

    private static final double KEPT = 0.95;
    /** Of the lowest loss of late: what falls below at once is no longer learning. */
    private static final double COLLAPSED = 1e-4;
    /** Of the lowest norm of late. */
    private static final double VANISHED = 1e-6;
    /** By how much a low loss or norm rises again with every step after it: a hundredfold in 50 steps. */
    private static final double FORGOTTEN = 1.1;
    /**
     * The lowest loss falls no further with a step: what is learned by heart, step by step, it follows closely, but not a collapse that
     * takes two steps.
     */
    private static final double FOLLOWED = 1e-2;
    /** From a loss and a norm below these, as of nothing at all, the lowest would not rise again for too long. */
    private static final double LEAST_LOSS = 1e-5, LEAST_NORM = 1e-4;
    /** A loss that is nothing to lose: its samples are known by heart. */
    private static final double LEARNED = 1e-3;
    /** Skipped in a row before it is a fault rather than an accident. */
    private static final int MOST_SKIPPED = 10;
    /** Overflows in a row at the lowest scale. */
    private static final int MOST_OVERFLOWS = 2;

    private final SpikeConfig config;
    private int steps;
    private double lowLoss;
    private double lowNorm;
    private double usualLogNorm;
    /** After the warm-up: the gradients of what is known by heart are small, and the next that is not is no explosion. */
    private double firstLogNorm;

    private int skipped;
    private int overflows;

    StepGuard(SpikeConfig config) {
        this.config = config;
    }

    GuardState state() {
        return new GuardState(steps, lowLoss, lowNorm, usualLogNorm, firstLogNorm, skipped, overflows);
    }

    void restore(GuardState state) {
        steps = state.steps();
        lowLoss = state.lowLoss();
        lowNorm = state.lowNorm();
        usualLogNorm = state.usualLogNorm();
        firstLogNorm = state.firstLogNorm();
        skipped = state.skipped();
        overflows = state.overflows();
    }

    /** What is to be done with a step. */
    enum Verdict {
        APPLY,
        SKIP
    }

    /**
     * Judges a step with finite numbers.
     *
     * @param loss of a step that has targets
     * @throws StepRefusedException where the run must not go on
     */
    Verdict judge(double loss, double norm) {
        overflows = 0;
        Optional<String> problem =
                config.action() == SpikeConfig.Action.IGNORE ? Optional.empty() : problem(loss, norm);
        if (problem.isEmpty()) {
            skipped = 0;
            remember(loss, norm);
            return Verdict.APPLY;
        }
        if (config.action() == SpikeConfig.Action.SKIP && ++skipped < MOST_SKIPPED) {
            return Verdict.SKIP;
        }
        throw new StepRefusedException(problem.get()
                + (skipped > 0
                        ? "; " + skipped
                                + " steps in a row were like this; to take them anyway set train.spike.action: ignore"
                        : "; to take such steps anyway set train.spike.action: ignore, to leave them out skip"));
    }

    /**
     * Takes note of an fp16 overflow.
     *
     * @param scale the loss was scaled by
     * @throws StepRefusedException where the scale cannot be lowered any further
     */
    void overflow(double scale) {
        overflows = scale <= 1 ? overflows + 1 : 0;
        if (overflows >= MOST_OVERFLOWS) {
            throw new StepRefusedException(
                    "gradients overflow fp16 although the loss scale is at its floor of 1; set precision: bf16 or fp32,"
                            + " or lower train.learning_rate");
        }
    }

    private Optional<String> problem(double loss, double norm) {
        if (steps == 0 && (loss == 0 || norm == 0)) {
            return problem(
                    "the loss is %.3g and the gradient norm %.3g in the first step, although its samples have answers:"
                            + " numbers are lost; set precision: bf16 or fp32, and look at the model's weights (model.path)",
                    loss, norm, 0);
        }
        boolean learning = steps > 0 && lowLoss > LEARNED;
        if (learning && loss < COLLAPSED * lowLoss) {
            return problem(
                    "the loss has collapsed to %.3g from %.3g, which is not learning but lost numbers; set precision: bf16"
                            + " or fp32, or lower train.learning_rate (gradient norm %.3g)",
                    loss, lowLoss, norm);
        }
        double usualNorm = Math.exp(Math.max(usualLogNorm, firstLogNorm));
        if (steps >= WARM_UP && norm > config.factor() * usualNorm) {
            return problem(
                    "the gradient norm has exploded to %.3g from %.3g (loss %.3g); look at the samples of this step, or go on from"
                            + " an earlier checkpoint with a lower train.learning_rate or train.max_grad_norm",
                    norm, usualNorm, loss);
        }
        if (learning && norm < VANISHED * lowNorm) {
            return problem(
                    "the gradient has vanished: its norm is %.3g, before it was %.3g; set precision: bf16 or fp32, and see"
                            + " whether samples have answers (loss %.3g)",
                    norm, lowNorm, loss);
        }
        return Optional.empty();
    }

    private static Optional<String> problem(String format, double value, double usual, double other) {
        return Optional.of(String.format(Locale.ROOT, format, value, usual, other));
    }

    private void remember(double loss, double norm) {
        double logNorm = Math.log(Math.max(norm, 1e-30));
        double followed = Math.max(loss, FOLLOWED * lowLoss);
        lowLoss = Math.max(LEAST_LOSS, steps == 0 ? loss : Math.min(followed, FORGOTTEN * lowLoss));
        lowNorm = Math.max(LEAST_NORM, steps == 0 ? norm : Math.min(norm, FORGOTTEN * lowNorm));
        usualLogNorm = steps == 0 ? logNorm : KEPT * usualLogNorm + (1 - KEPT) * logNorm;
        steps++;
        if (steps == WARM_UP) {
            firstLogNorm = usualLogNorm;
        }
    }
}
