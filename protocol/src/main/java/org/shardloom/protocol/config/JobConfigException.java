package org.shardloom.protocol.config;

import java.util.List;
import java.util.stream.Collectors;

/** A job file that cannot be run as it is. The message has one line for each problem. */
public final class JobConfigException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final transient List<JobProblem> problems;

    /** Reports these problems, at least one. */
    public JobConfigException(List<JobProblem> problems) {
        super(problems.stream().map(JobProblem::toString).collect(Collectors.joining("\n")));
        this.problems = List.copyOf(problems);
    }

    /** Returns all problems: first those of the file, by line, then those of the overrides. */
    public List<JobProblem> problems() {
        return problems == null ? List.of() : problems;
    }
}
