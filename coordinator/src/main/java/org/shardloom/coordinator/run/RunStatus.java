package org.shardloom.coordinator.run;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import org.shardloom.protocol.config.ScheduleConfig;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;

/** What the parts of the state machine share: where the run is, and what it wants done next. */
final class RunStatus {
    private final List<Effect> effects = new ArrayList<>();
    private RunState state = RunState.ASSEMBLING;
    private String detail = "waiting for workers";
    private long since;
    private TrainingState training = TrainingState.START;
    private long totalSteps;
    private double loss = Double.NaN;
    private boolean stopping;
    private StepEvaluation evaluation;
    private String refusal;
    private boolean updated;
    private boolean rated;

    RunState state() {
        return state;
    }

    boolean is(RunState other) {
        return state == other;
    }

    boolean isFinal() {
        return state.isFinal();
    }

    /** Whether the run waits for workers to come. */
    boolean waiting() {
        return state == RunState.ASSEMBLING || state == RunState.RECOVERING;
    }

    void enter(RunState next, String why, long now) {
        state = next;
        detail = why;
        since = now;
    }

    /** When the state was entered. */
    long since() {
        return since;
    }

    String detail() {
        return detail;
    }

    void detail(String text) {
        detail = text;
    }

    /** What there is to say of a run about which there is nothing special to say. */
    void usualDetail() {
        detail = stopping ? "stopping" : "";
    }

    /** Where training is: what all members of the generation hold. */
    TrainingState training() {
        return training;
    }

    void training(TrainingState reached) {
        training = reached;
    }

    long totalSteps() {
        return totalSteps;
    }

    void totalSteps(long steps) {
        totalSteps = steps;
    }

    /** Of the last step, or NaN. */
    double loss() {
        return loss;
    }

    void loss(double ofStep) {
        loss = ofStep;
    }

    /** Loss of the evaluation after the last step, where there was one. */
    OptionalDouble evalLoss() {
        return evaluation != null && evaluation.step() == training.step() && Double.isFinite(evaluation.loss())
                ? OptionalDouble.of(evaluation.loss())
                : OptionalDouble.empty();
    }

    /** Of the last step; null where it was not followed by one. */
    StepEvaluation latestEvaluation() {
        return evaluation;
    }

    void evaluation(StepEvaluation latest) {
        evaluation = latest;
    }

    /** Why workers would not take the next step; null as long as they would. */
    String refusal() {
        return refusal;
    }

    void refuse(String reason) {
        refusal = reason;
    }

    /** Takes note of a step: whether its update was applied, and whether its learning rate was above 0. */
    void stepped(boolean applied, boolean aboveZero) {
        updated |= applied && aboveZero;
        rated |= aboveZero;
    }

    /** Why the model is as it was at the beginning; empty where it is not, or where that is not known. */
    String untrained() {
        if (updated) {
            return "";
        }
        return "; but nothing was trained: "
                + (rated
                        ? "every update with a learning rate above 0 was left out"
                        : ScheduleConfig.NEVER_ABOVE_ZERO.formatted("was"));
    }

    /** Whether people want the run to end at the next opportunity. */
    boolean stopping() {
        return stopping;
    }

    void stop() {
        stopping = true;
    }

    void want(Effect effect) {
        effects.add(effect);
    }

    void tell(int workerId, WorkerMessage message) {
        effects.add(new Effect.Tell(workerId, message));
    }

    void notice(boolean warning, String text) {
        effects.add(new Effect.Notice(warning, text));
    }

    /** The run is over. */
    void end(boolean success, String message) {
        state = success ? RunState.DONE : RunState.FAILED;
        detail = message;
        effects.add(new Effect.End(success, message));
    }

    /** What is wanted since the last call. */
    List<Effect> drain() {
        List<Effect> result = List.copyOf(effects);
        effects.clear();
        return result;
    }
}
