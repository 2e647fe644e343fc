package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * A sample for people: one line for each run of tokens that are all given, or all learned.
 *
 * <pre>
 *   given      6: "[gMASK]sop&lt;|user|&gt;\n 二" 64790 64792 64795 30910 13 31126
 *   learned    4: "&lt;|assistant|&gt;\n 三" 64796 30910 13 31195
 *   learned    1: "&lt;/s&gt;" 2, where "\n" 13 stands
 * </pre>
 *
 * <p>The number is that of tokens. The third kind of line is a label that differs from the token at its place.
 */
public final class SampleView {
    private final Tokenizer tokenizer;
    private final Sample sample;

    private SampleView(Sample sample, Tokenizer tokenizer) {
        this.sample = sample;
        this.tokenizer = tokenizer;
    }

    /**
     * The sample's lines.
     *
     * @param tokenizer what made the ids, or null: then there is no text, only ids
     */
    public static List<String> lines(Sample sample, Tokenizer tokenizer) {
        return new SampleView(sample, tokenizer).lines();
    }

    private enum Kind {
        GIVEN,
        LEARNED,
        REPLACED
    }

    private Kind kind(int position) {
        int label = sample.labels()[position];
        return label == Sample.IGNORED
                ? Kind.GIVEN
                : label == sample.inputIds()[position] ? Kind.LEARNED : Kind.REPLACED;
    }

    private List<String> lines() {
        List<String> lines = new ArrayList<>();
        for (int from = 0, to; from < sample.length(); from = to) {
            Kind kind = kind(from);
            to = from + 1;
            while (to < sample.length() && kind(to) == kind) {
                to++;
            }
            int[] ids = Arrays.copyOfRange(sample.inputIds(), from, to);
            String line = kind == Kind.REPLACED
                    ? show(Arrays.copyOfRange(sample.labels(), from, to)) + ", where " + show(ids)
                            + (to - from == 1 ? " stands" : " stand")
                    : show(ids);
            lines.add(String.format(
                    Locale.ROOT, "  %-7s %4d: %s", kind == Kind.GIVEN ? "given" : "learned", to - from, line));
        }
        return lines;
    }

    private String show(int[] ids) {
        String numbers = Arrays.stream(ids).mapToObj(Integer::toString).collect(Collectors.joining(" "));
        return tokenizer == null ? numbers : PythonText.json(text(ids)) + " " + numbers;
    }

    /** The text, special tokens by their names, which decoding may hide. */
    private String text(int[] ids) {
        StringBuilder text = new StringBuilder();
        Ids plain = new Ids(ids.length);
        for (int id : ids) {
            if (tokenizer.specialName(id).isEmpty()) {
                plain.add(id);
                continue;
            }
            text.append(tokenizer.decode(plain.toArray()))
                    .append(tokenizer.specialName(id).get());
            plain = new Ids(ids.length);
        }
        return text.append(tokenizer.decode(plain.toArray())).toString();
    }
}
