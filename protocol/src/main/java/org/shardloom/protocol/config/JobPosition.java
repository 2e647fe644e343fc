package org.shardloom.protocol.config;

/**
 * A place in a job file or on the command line.
 *
 * @param source the job file's name, or the whole {@code --set} override
 * @param line from 1; 0 when there is no line to name
 * @param column from 1; 0 when there is no line to name
 */
public record JobPosition(String source, int line, int column) {

    /** Returns a place without a line. */
    public static JobPosition of(String source) {
        return new JobPosition(source, 0, 0);
    }

    /** Returns {@code source:line}, or only the source when there is no line. */
    @Override
    public String toString() {
        return line > 0 ? source + ":" + line : source;
    }
}
