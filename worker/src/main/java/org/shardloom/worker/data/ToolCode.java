package org.shardloom.worker.data;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An assistant's call of a tool as ChatGLM3 writes it and whoever carries it out reads it: {@code tool_call(city='北京', days=3)}, in the
 * last block of Python of the text. Text without such a block is another convention, of which nothing is known here.
 */
final class ToolCode {
    private static final String FENCE = "```";
    private static final Pattern CALL = Pattern.compile("(?U)(?<!\\w)tool_call\\(");

    private ToolCode() {}

    /** What keeps the text's call from being read; empty where nothing does. */
    static String problem(String content) {
        int from = content.indexOf(FENCE);
        if (from < 0) {
            return "";
        }
        String code = null;
        while (from >= 0) {
            int line = content.indexOf('\n', from);
            int to = line < 0 ? -1 : content.indexOf(FENCE, line);
            if (to < 0) {
                return "its block of code is not closed by " + FENCE;
            }
            code = content.substring(line + 1, to);
            from = content.indexOf(FENCE, to + FENCE.length());
        }
        Matcher call = CALL.matcher(code);
        return call.find() ? unbalanced(code.substring(call.end() - 1)) : "";
    }

    /** Python's brackets and strings, from an opening bracket to the end. */
    private static String unbalanced(String code) {
        Deque<Character> open = new ArrayDeque<>();
        for (int i = 0; i < code.length(); i++) {
            char c = code.charAt(i);
            if (c == '#') {
                int end = code.indexOf('\n', i);
                i = end < 0 ? code.length() : end;
            } else if (c == '\'' || c == '"') {
                i = endOfString(code, i);
                if (i < 0) {
                    return "a string in tool_call(...) has no end";
                }
            } else if ("([{".indexOf(c) >= 0) {
                open.push(c);
            } else if (")]}".indexOf(c) >= 0) {
                if (open.isEmpty() || "([{".charAt(")]}".indexOf(c)) != open.pop()) {
                    return "'" + c + "' closes a bracket that is not open";
                }
            }
        }
        return open.isEmpty() ? "" : "tool_call(...) has no closing bracket";
    }

    /** Index of the last character of the string that begins there; negative where it has no end. */
    private static int endOfString(String code, int from) {
        String quote = code.substring(from, from + 1);
        if (code.startsWith(quote.repeat(3), from)) {
            quote = quote.repeat(3);
        }
        for (int i = from + quote.length(); i < code.length(); i++) {
            if (code.charAt(i) == '\\') {
                i++;
            } else if (code.startsWith(quote, i)) {
                return i + quote.length() - 1;
            } else if (code.charAt(i) == '\n' && quote.length() == 1) {
                return -1;
            }
        }
        return -1;
    }
}
