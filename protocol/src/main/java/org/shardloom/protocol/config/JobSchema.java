package org.shardloom.protocol.config;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Looks up the job file's keys: what is valid where, what somebody may have meant, and the table of all of them. */
public final class JobSchema {
    private static final String ANYTHING = "*";
    private static final Map<String, Key<?>> BY_PATH = new LinkedHashMap<>();
    /** Section to the names inside it, keys and sections alike. */
    private static final Map<String, Set<String>> SECTIONS = new LinkedHashMap<>();

    static {
        for (Key<?> key : JobKeys.ALL) {
            BY_PATH.put(key.path(), key);
            String path = key.path();
            while (!path.isEmpty()) {
                String section = Key.sectionOf(path);
                SECTIONS.computeIfAbsent(section, name -> new LinkedHashSet<>()).add(Key.nameOf(path));
                path = section;
            }
        }
    }

    private JobSchema() {}

    /** Lists every key with its default, the values it takes and its meaning, as a text table. */
    public static String describe() {
        int pathWidth =
                JobKeys.ALL.stream().mapToInt(key -> key.path().length()).max().orElse(0);
        int defaultWidth = JobKeys.ALL.stream()
                .mapToInt(key -> key.fallbackText().length())
                .max()
                .orElse(0);
        String format = "%-" + pathWidth + "s  %-" + defaultWidth + "s  %s%n".replace("%n", "\n");
        StringBuilder table = new StringBuilder(String.format(format, "key", "default", "meaning"));
        for (Key<?> key : JobKeys.ALL) {
            String meaning = key.description() + " (" + key.type().expected() + ")";
            table.append(String.format(format, key.path(), key.fallbackText(), meaning));
        }
        return table.toString();
    }

    /** Returns the names of all keys, in the order of the table. */
    public static List<String> keyPaths() {
        return List.copyOf(JobKeys.ALL.stream().map(Key::path).toList());
    }

    static Optional<Key<?>> find(String path) {
        return Key.nameOf(path).equals(ANYTHING) ? Optional.empty() : Optional.ofNullable(BY_PATH.get(path));
    }

    static boolean isSection(String path) {
        return SECTIONS.containsKey(path);
    }

    /** Tells whether a section takes options that the schema does not list. */
    static boolean isOpen(String section) {
        return BY_PATH.containsKey(Key.join(section, ANYTHING));
    }

    /** Explains an unknown key: the nearest one in its section, or its namesake elsewhere, or all that would be valid. */
    static String unknownKey(String section, String name) {
        String message = "unknown key '" + Nodes.shown(Key.join(section, name)) + "' - ";
        Set<String> valid = new LinkedHashSet<>(SECTIONS.get(section));
        valid.remove(ANYTHING);
        Optional<String> near = Nearest.of(name, valid)
                .map(found -> Key.join(section, found))
                .or(() -> BY_PATH.keySet().stream()
                        .filter(path -> Key.nameOf(path).equals(name))
                        .findFirst());
        return message
                + near.map(path -> "did you mean '" + path + "'?")
                        .orElse("valid keys " + (section.isEmpty() ? "at the top" : "in '" + section + "'") + ": "
                                + String.join(", ", valid));
    }
}
