package org.shardloom.protocol.config;

/**
 * One thing that is wrong with a job, and where.
 *
 * @param at the place to change
 * @param message what is wrong there and what would be right
 */
public record JobProblem(JobPosition at, String message) {

    /** Returns, for instance, {@code job.yaml:12: unknown key 'train.sed' - did you mean 'train.seed'?}. */
    @Override
    public String toString() {
        return at + ": " + message;
    }
}
