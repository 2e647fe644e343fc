package org.shardloom.worker.data;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * An assistant's call of a tool as ChatGLM3 writes it and whoever carries it out reads it: {@code tool_call(city='北京', days=3)}, in a
 * block of Python. Text without such a call is another convention, of which nothing is known here.
 */
final class ToolCode {
    private static final String FENCE = "```";
    private static final String CALL = "tool_call(";

    private ToolCode() {}

    /** What is wrong with the call in the text; empty where nothing is. */
    static String problem(String content) {
        String text = content.strip();
        int call = text.indexOf(CALL);
        if (call < 0) {
            return "";
        }
        if (text.startsWith(FENCE)) {
            if (!text.endsWith("\n" + FENCE)) {
                return "the block of code is not closed by " + FENCE + " on a line of its own";
            }
            text = text.substring(0, text.length() - FENCE.length());
        }
        return unbalanced(text.substring(call + CALL.length() - 1));
    }

    /** Python's brackets and strings, from an opening bracket to the end. */
    private static String unbalanced(String code) {
        Deque<Character> open = new ArrayDeque<>();
        char quote = 0;
        for (int i = 0; i < code.length(); i++) {
            char c = code.charAt(i);
            if (quote != 0) {
                if (c == '\\') {
                    i++;
                } else if (c == quote) {
                    quote = 0;
                }
            } else if (c == '\'' || c == '"') {
                quote = c;
            } else if ("([{".indexOf(c) >= 0) {
                open.push(c);
            } else if (")]}".indexOf(c) >= 0) {
                if ("([{".charAt(")]}".indexOf(c)) != open.pop()) {
                    return "'" + c + "' closes a bracket that is not open";
                }
                if (open.isEmpty()) {
                    String rest = code.substring(i + 1).strip();
                    return rest.isEmpty() ? "" : "'" + rest + "' follows the call";
                }
            }
        }
        return quote != 0 ? "a string in tool_call(...) has no end" : "tool_call(...) has no closing bracket";
    }
}
