package org.shardloom.coordinator.run;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.CoordinatorMessage.StepRefused;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.WorkerMessage.RunStep;

/** The step under way: begun on all ranks, over when all have answered, and not begun faster than the job allows. */
final class StepBarrier {
    private final RunStatus status;
    private final Membership members;
    private final long leastMillis;
    private final Map<Integer, StepDone> answers = new HashMap<>();
    private final Set<Integer> refusals = new HashSet<>();
    private boolean underWay;
    private long started;
    private long nextAt;
    private long furthest = -1;

    StepBarrier(RunStatus status, Membership members, double minStepSeconds) {
        this.status = status;
        this.members = members;
        this.leastMillis = Math.round(minStepSeconds * 1000);
    }

    boolean underWay() {
        return underWay;
    }

    boolean mayBegin(long now) {
        return now >= nextAt;
    }

    void begin(long step, long now) {
        underWay = true;
        started = now;
        answers.clear();
        refusals.clear();
        members.ranks().forEach(id -> status.tell(id, new RunStep(members.generation(), step)));
    }

    /** Takes a rank's answer; true once all have answered and the step is done. */
    boolean answered(StepDone done, long now) {
        if (!underWay) {
            return false;
        }
        answers.put(done.workerId(), done);
        if (!answers.keySet().containsAll(members.ranks())) {
            return false;
        }
        underWay = false;
        nextAt = started + leastMillis;
        List<StepReport> reports =
                members.ranks().stream().map(id -> answers.get(id).report()).toList();
        status.training(answers.get(members.first()).state());
        StepMetrics metrics = StepMetrics.of(
                status.training().step(), status.totalSteps(), members.generation(), (now - started) / 1000.0, reports);
        status.loss(metrics.loss());
        status.evaluation(metrics.evaluation());
        status.stepped(metrics.applied(), metrics.learningRate() > 0);
        status.want(new Effect.PublishStep(metrics));
        tellIfLeftOut(metrics);
        return true;
    }

    /** An overflow of fp16, which has no finite norm, is nothing unusual and not told. */
    private void tellIfLeftOut(StepMetrics m) {
        if (!m.applied() && Double.isFinite(m.loss()) && Double.isFinite(m.gradNorm())) {
            status.notice(
                    true,
                    String.format(
                            Locale.ROOT,
                            "step %d is left out (train.spike.action: skip), with loss %.3g and gradient norm %.3g",
                            m.step(),
                            m.loss(),
                            m.gradNorm()));
        }
    }

    /** Takes a rank's refusal of the step; true once all have refused. */
    boolean refused(StepRefused refusal) {
        if (!underWay) {
            return false;
        }
        refusals.add(refusal.workerId());
        // Ranks see the same numbers: where one refuses, all do.
        underWay = !refusals.containsAll(members.ranks());
        return !underWay;
    }

    /** The step under way is given up. */
    void abandon() {
        underWay = false;
    }

    /** Takes note of how far the run is; whether it was never that far before. */
    boolean reached(long step) {
        boolean further = step > furthest;
        furthest = Math.max(furthest, step);
        return further;
    }
}
