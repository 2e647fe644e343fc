package org.shardloom.deploy.doctor;

/**
 * What a check has found.
 *
 * @param check its name
 * @param found in one line: what is there, and what it means
 * @param advice what to do; empty where there is nothing to be done
 */
public record Finding(String check, Status status, String found, String advice) {
    /** How it stands. */
    public enum Status {
        OK,
        /** The job runs, but something is lost or may go wrong. */
        WARNING,
        /** The job cannot run. */
        ERROR
    }

    public static Finding ok(String check, String found) {
        return new Finding(check, Status.OK, found, "");
    }

    static Finding warning(String check, String found, String advice) {
        return new Finding(check, Status.WARNING, found, advice);
    }

    static Finding error(String check, String found, String advice) {
        return new Finding(check, Status.ERROR, found, advice);
    }

    /** In one line. */
    public String line() {
        return found + (advice.isEmpty() ? "" : "; " + advice);
    }
}
