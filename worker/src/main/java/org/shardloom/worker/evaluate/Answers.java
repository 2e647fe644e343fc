package org.shardloom.worker.evaluate;

import java.util.LinkedHashSet;
import java.util.Set;
import java.util.regex.Pattern;

/** Comparisons of whole answers and of their lines. White space is normalised: runs of it count as one space, none at the ends. */
public final class Answers {
    private static final Pattern SPACE = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);
    private static final Pattern LINE_END = Pattern.compile("\\R");

    private Answers() {}

    /** Whether the texts are equal but for white space. */
    public static boolean equal(String answer, String reference) {
        return normalised(answer).equals(normalised(reference));
    }

    /** Whether there is nothing but white space. */
    public static boolean isEmpty(String text) {
        return normalised(text).isEmpty();
    }

    /**
     * Overlap of the sets of lines, for extraction tasks that put one item on a line: order and repetition do not matter, empty
     * lines do not count.
     */
    public static Overlap lines(String answer, String reference) {
        Set<String> ofAnswer = lineSet(answer), ofReference = lineSet(reference);
        int shared = (int) ofAnswer.stream().filter(ofReference::contains).count();
        return Overlap.of(shared, ofAnswer.size(), ofReference.size());
    }

    private static Set<String> lineSet(String text) {
        Set<String> lines = new LinkedHashSet<>();
        LINE_END.splitAsStream(text)
                .map(Answers::normalised)
                .filter(line -> !line.isEmpty())
                .forEach(lines::add);
        return lines;
    }

    private static String normalised(String text) {
        return SPACE.matcher(text).replaceAll(" ").strip();
    }
}
