package org.shardloom.coordinator.run;

import java.util.Locale;
import org.shardloom.protocol.message.WorkerMessage.Leave;

/** The end of a run: everyone is sent away, everyone who waits is answered, and it is said how it ended. */
final class Ending {
    private final RunStatus status;
    private final Roster roster;
    private final Membership members;
    private final WantedWorkers wanted;
    private final CheckpointWriting checkpoints;
    private final FinalExport export;

    Ending(
            RunStatus status,
            Roster roster,
            Membership members,
            WantedWorkers wanted,
            CheckpointWriting checkpoints,
            FinalExport export) {
        this.status = status;
        this.roster = roster;
        this.members = members;
        this.wanted = wanted;
        this.checkpoints = checkpoints;
        this.export = export;
    }

    void done(String message) {
        end(true, message);
    }

    /** All steps are done and the model is in the directory. */
    void exported(String directory) {
        done(String.format(
                Locale.ROOT,
                "done: %d steps, loss %.4f, model in %s%s",
                status.training().step(),
                status.loss(),
                directory,
                status.untrained()));
    }

    /** Workers would not take the next step; what there was before it is saved, unless it is the beginning. */
    void paused(String reason) {
        long step = status.training().step();
        StringBuilder text = new StringBuilder("paused before step ")
                .append(step + 1)
                .append(": ")
                .append(reason);
        if (checkpoints.isLastOf(step)) {
            text.append("; the state before it is in ")
                    .append(checkpoints.last())
                    .append(", from which --resume latest goes on");
        }
        giveUp(text.toString());
    }

    /** People wanted it. */
    void stopped() {
        StringBuilder text =
                new StringBuilder("stopped at step ").append(status.training().step());
        if (status.is(RunState.FINISHING)) {
            text.append(", the model is not written").append(why(export.pause()));
        }
        text.append(checkpoints.last() == null ? ", no checkpoint" : ", last checkpoint " + checkpoints.last());
        text.append(why(checkpoints.pause()));
        long unsaved = checkpoints.unsaved();
        if (unsaved > 0) {
            text.append(": ").append(unsaved).append(unsaved == 1 ? " step is lost" : " steps are lost");
        }
        end(
                true,
                text.append(checkpoints.last() == null ? "" : "; --resume latest goes on")
                        .toString());
    }

    private static String why(SpacePause pause) {
        return pause.isOn() ? " (" + pause.reason() + ")" : "";
    }

    void giveUp(String message) {
        members.abort(message);
        end(false, message);
    }

    private void end(boolean success, String message) {
        wanted.answer("the run has ended: " + message);
        checkpoints.abandon();
        roster.ids().forEach(id -> status.tell(id, new Leave("the run has ended")));
        roster.launching().forEach(id -> status.want(new Effect.Kill(id)));
        status.end(success, message);
    }
}
