package org.shardloom.worker.tokenizer;

import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Special tokens by their names, and text in which some of these names stand for them. */
final class SpecialTokens {
    private static final Pattern NOTHING = Pattern.compile("(?!)");

    private final Map<String, Integer> ids;
    private final Map<Integer, String> names = new LinkedHashMap<>();
    private final Pattern typeable;

    /**
     * @param ids every special token's id by its name
     * @param typeable the names that {@link #encode} recognises
     */
    SpecialTokens(Map<String, Integer> ids, Collection<String> typeable) {
        this.ids = ids;
        ids.forEach((name, id) -> names.put(id, name));
        this.typeable = typeable.isEmpty() ? NOTHING : anyOf(typeable);
    }

    /** The id of a special token; empty if there is none of that name. */
    OptionalInt id(String name) {
        Integer id = ids.get(name);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /** The name of a special token; empty if the id is none's. */
    Optional<String> name(int id) {
        return Optional.ofNullable(names.get(id));
    }

    /** One more than the largest id, 0 if there are none. */
    int end() {
        return names.keySet().stream().mapToInt(id -> id + 1).max().orElse(0);
    }

    /**
     * Encodes text in which the typeable names stand for special tokens.
     *
     * @param blanks what becomes of white space beside a special token
     * @param plain encodes what lies between them; is never given empty text
     */
    int[] encode(String text, Blanks blanks, Function<String, int[]> plain) {
        IntStream.Builder result = IntStream.builder();
        Matcher matcher = typeable.matcher(text);
        int from = 0;
        boolean more = true;
        while (more) {
            more = matcher.find();
            String between = text.substring(from, more ? matcher.start() : text.length());
            if (blanks == Blanks.STRIPPED) {
                between = TextRules.strip(between, from > 0, more);
            }
            if (!between.isEmpty()) {
                Arrays.stream(plain.apply(between)).forEach(result);
            }
            if (more) {
                result.add(ids.get(matcher.group()));
                from = matcher.end();
            }
        }
        return result.build().toArray();
    }

    /** What becomes of white space beside a special token in text. */
    enum Blanks {
        /** It is text. */
        KEPT,
        /** It goes, as in Hugging Face's Python tokenizers. */
        STRIPPED
    }

    /** A pattern for the names; where one begins another, the longer wins. */
    private static Pattern anyOf(Collection<String> names) {
        return Pattern.compile(names.stream()
                .sorted(Comparator.comparingInt(String::length).reversed())
                .map(Pattern::quote)
                .collect(Collectors.joining("|")));
    }
}
