package org.shardloom.worker.generate;

import java.util.List;
import java.util.function.Function;

/** Texts that end an answer where they appear in it, and are no part of it; blanks before the answer do not count. */
public final class StopTexts {
    private final List<String> texts;
    private final Function<int[], String> decode;

    /**
     * Stops at any of the texts.
     *
     * @param texts none of them empty; there may be none
     * @param decode the text of an answer's tokens
     * @throws IllegalArgumentException where one is empty
     */
    public StopTexts(List<String> texts, Function<int[], String> decode) {
        if (texts.contains("")) {
            throw new IllegalArgumentException("a stop text is empty");
        }
        this.texts = List.copyOf(texts);
        this.decode = decode;
    }

    /** Whether an answer is over with these tokens. */
    public boolean reached(int[] answer) {
        if (texts.isEmpty()) {
            return false;
        }
        String text = decode.apply(answer).stripLeading();
        return texts.stream().anyMatch(text::contains);
    }

    /** The answer up to the first of the texts, without blanks before it. */
    public String cut(String answer) {
        String text = answer.stripLeading();
        int end = text.length();
        for (String stop : texts) {
            int at = text.indexOf(stop);
            end = at < 0 ? end : Math.min(end, at);
        }
        return text.substring(0, end);
    }

    /** What of an unfinished answer will remain whatever follows: all but what one of the texts may begin with. */
    public String certain(String answer) {
        String text = cut(answer);
        int end = text.length();
        for (String stop : texts) {
            for (int from = Math.max(0, text.length() - stop.length() + 1); from < end; from++) {
                if (stop.startsWith(text.substring(from))) {
                    end = from;
                }
            }
        }
        return text.substring(0, end);
    }
}
