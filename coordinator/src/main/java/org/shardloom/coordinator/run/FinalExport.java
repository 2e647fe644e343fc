package org.shardloom.coordinator.run;

import org.shardloom.protocol.message.WorkerMessage.ExportFinal;

/** Has one member turn the last checkpoint into the trained model; waits while the disk is full. */
final class FinalExport {
    private static final int NOBODY = -1;
    private final RunStatus status;
    private final Membership members;
    private final String directory;
    private final SpacePause pause;
    private int writer = NOBODY;

    FinalExport(RunStatus status, Membership members, String outputDir) {
        this.status = status;
        this.members = members;
        this.directory = outputDir + "/final";
        this.pause = new SpacePause(status);
    }

    SpacePause pause() {
        return pause;
    }

    /** The first attempt of a generation. */
    void begin(String checkpoint, long now) {
        status.enter(RunState.FINISHING, "writing the model", now);
        writer = NOBODY;
        pause.forget();
        goOn(checkpoint, now);
    }

    /** Whether a member is at it. */
    boolean underWay() {
        return writer != NOBODY;
    }

    /** Tries, unless someone is at it or it is too early to try again. */
    void goOn(String checkpoint, long now) {
        if (!underWay() && pause.mayTry(now)) {
            writer = members.first();
            status.tell(writer, new ExportFinal(members.generation(), checkpoint, directory));
        }
    }

    /** A member is gone. */
    void lost(int workerId) {
        if (writer == workerId) {
            writer = NOBODY;
        }
    }

    /** There was no space for the model. */
    void failed(int workerId, String message, long now) {
        if (writer == workerId) {
            writer = NOBODY;
            pause.begin(
                    "before the model is written",
                    message,
                    "; stopped, it ends without the model, which --resume latest writes",
                    now);
        }
    }
}
