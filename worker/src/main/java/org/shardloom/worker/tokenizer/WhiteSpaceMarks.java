package org.shardloom.worker.tokenizer;

import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * How ChatGLM-6B keeps white space, which its SentencePiece model would drop: a newline is {@code <n>}, a tab
 * {@code <|tab|>}, and of a run of blanks each 80, and the rest if it is more than one, {@code <|blank_N|>}.
 */
final class WhiteSpaceMarks {
    private static final String NEWLINE = "<n>";
    private static final String TAB = "<|tab|>";
    private static final Pattern BLANKS = Pattern.compile(" {2,80}");
    private static final Pattern MARK = Pattern.compile("<\\|blank_([2-9]|[1-7][0-9]|80)\\|>");

    private WhiteSpaceMarks() {}

    /** The text with marks for white space. */
    static String set(String text) {
        String lines = text.replace("\n", NEWLINE).replace("\t", TAB);
        return BLANKS.matcher(lines).replaceAll(blanks -> "<|blank_" + length(blanks) + "|>");
    }

    /** The text with white space for marks. */
    static String resolve(String marked) {
        String lines = marked.replace(NEWLINE, "\n").replace(TAB, "\t");
        return MARK.matcher(lines).replaceAll(mark -> " ".repeat(Integer.parseInt(mark.group(1))));
    }

    private static int length(MatchResult match) {
        return match.end() - match.start();
    }
}
