package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.file.Path;

/**
 * A weight file is damaged, unsupported, incomplete, or does not hold what was asked of it.
 *
 * <p>It is an {@link IOException} because files come from outside: a caller that opens one must be ready for it, and
 * can treat it like any other failure to read. The message names the file, the tensor where there is one, what was
 * expected and what was found.
 */
public class WeightsException extends IOException {
    private static final int LONGEST_QUOTE = 200;

    /** Creates the exception with a complete message. */
    public WeightsException(String message) {
        super(message);
    }

    /** Creates the exception with a complete message and its cause. */
    public WeightsException(String message, Throwable cause) {
        super(message, cause);
    }

    static WeightsException in(Path file, String problem) {
        return new WeightsException(file + ": " + problem);
    }

    static WeightsException in(Path file, String problem, Throwable cause) {
        return new WeightsException(file + ": " + problem, cause);
    }

    static WeightsException in(Path file, String tensor, String problem) {
        return new WeightsException(file + ": tensor " + quote(tensor) + ": " + problem);
    }

    /** Quotes text from a file for a message: cut to a sensible length, control characters replaced. */
    static String quote(String text) {
        String cut = text.length() <= LONGEST_QUOTE ? text : text.substring(0, LONGEST_QUOTE) + "...";
        return "'" + cut.replaceAll("\\p{Cntrl}", "?") + "'";
    }
}
