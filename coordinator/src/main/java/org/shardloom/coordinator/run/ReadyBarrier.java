package org.shardloom.coordinator.run;

import java.util.HashMap;
import java.util.Map;
import org.shardloom.protocol.config.ScheduleConfig;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;

/** The beginning of a generation: over when all its members have what its steps need, and those that leave have handed over. */
final class ReadyBarrier {
    private final RunStatus status;
    private final Membership members;
    private final ScheduleConfig schedule;
    private final Map<Integer, Ready> answers = new HashMap<>();

    ReadyBarrier(RunStatus status, Membership members, ScheduleConfig schedule) {
        this.status = status;
        this.members = members;
        this.schedule = schedule;
    }

    void begin() {
        answers.clear();
    }

    boolean hasAnswered(int workerId) {
        return answers.containsKey(workerId);
    }

    /** Takes a worker's answer; true once all have answered and training may begin. */
    boolean answered(Ready answer, long now) {
        answers.put(answer.workerId(), answer);
        if (!answers.keySet().containsAll(members.ranks()) || !answers.keySet().containsAll(members.leaving())) {
            return false;
        }
        Ready first = answers.get(members.first());
        long step = first.state().step();
        status.totalSteps(first.totalSteps());
        status.training(first.state());
        members.dismissLeaving();
        if (status.is(RunState.LOADING)) {
            // What the steps before a checkpoint did is not known here: they may have trained.
            status.stepped(step > 0, step > 0);
            status.notice(false, first.summary());
            if (step == 0) {
                schedule.warning(first.totalSteps()).ifPresent(text -> status.notice(true, text));
            }
        }
        status.notice(
                false,
                (step == 0 ? "training" : "training goes on after step " + step) + " with " + members.size()
                        + (members.size() == 1 ? " worker" : " workers") + " (generation " + members.generation()
                        + ")");
        status.enter(RunState.TRAINING, "", now);
        status.usualDetail();
        return true;
    }
}
