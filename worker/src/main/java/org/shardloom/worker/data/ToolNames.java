package org.shardloom.worker.data;

import java.util.regex.Pattern;

/** What tools and their parameters may be called, in any script: an answer with another first line would not be known for a call. */
final class ToolNames {
    private static final Pattern TOOL = Pattern.compile("[\\p{L}\\p{N}_][\\p{L}\\p{M}\\p{N}_.-]{0,63}");
    private static final Pattern PARAMETER = Pattern.compile("[\\p{L}\\p{Nl}_][\\p{L}\\p{M}\\p{N}\\p{Pc}]*");

    private ToolNames() {}

    /** A word: prose has spaces or punctuation. */
    static boolean isTool(String name) {
        return TOOL.matcher(name).matches();
    }

    /** An identifier, as it stands before the {@code =} of {@code tool_call(city='北京')}. */
    static boolean isParameter(String name) {
        return PARAMETER.matcher(name).matches();
    }
}
