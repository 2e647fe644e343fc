package org.shardloom.coordinator.run;

/** A wait for space on a disk: people are told once, and what had no space is tried again every few seconds. */
final class SpacePause {
    private static final long RETRY_MILLIS = 5000;
    private final RunStatus status;
    private long retryAt = -1;
    private String reason;

    SpacePause(RunStatus status) {
        this.status = status;
    }

    /**
     * There was no space.
     *
     * @param when in the run, for people
     * @param message what was to be written, and where
     * @param ending what people can do other than to make space
     */
    void begin(String when, String message, String ending, long now) {
        status.detail("paused: " + message);
        if (retryAt < 0) {
            status.notice(true, "paused " + when + ": " + message + ". The run goes on when there is space" + ending);
        }
        retryAt = now + RETRY_MILLIS;
        reason = message;
    }

    boolean isOn() {
        return retryAt >= 0;
    }

    /** Why the run is paused, or null. */
    String reason() {
        return reason;
    }

    boolean mayTry(long now) {
        return now >= retryAt;
    }

    /** There was space after all. */
    void end() {
        if (isOn()) {
            forget();
            status.usualDetail();
            status.notice(false, "there is space again; the run goes on");
        }
    }

    /** It is of no interest any more. */
    void forget() {
        retryAt = -1;
        reason = null;
    }
}
