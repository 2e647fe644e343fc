package org.shardloom.protocol.config;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Predicate;

/** Writes configurations in their canonical form. */
final class JobYaml {
    private static final String INDENT = "  ";

    private JobYaml() {}

    /** Writes those keys that have a value and are wanted, in the order of the schema. */
    static String render(JobConfig config, Predicate<Key<?>> wanted) {
        StringBuilder yaml = new StringBuilder();
        List<String> open = new ArrayList<>();
        for (Key<?> key : JobKeys.ALL) {
            if (!wanted.test(key)) {
                continue;
            }
            if (key == JobKeys.METHOD_OPTIONS) {
                config.method().options().forEach((name, value) -> yaml.append(INDENT)
                        .append(FreeValues.renderKey(name))
                        .append(": ")
                        .append(FreeValues.render(value))
                        .append('\n'));
                continue;
            }
            String value = key.render(config);
            if (value != null) {
                openSections(yaml, open, key.section());
                line(yaml, open.size(), key.name() + ": " + value);
            }
        }
        return yaml.toString();
    }

    /** Writes the headings that lead from the open sections to the wanted one. */
    private static void openSections(StringBuilder yaml, List<String> open, String section) {
        List<String> wanted = section.isEmpty() ? List.of() : List.of(section.split("\\."));
        int common = 0;
        while (common < Math.min(open.size(), wanted.size()) && open.get(common).equals(wanted.get(common))) {
            common++;
        }
        open.subList(common, open.size()).clear();
        for (String name : wanted.subList(common, wanted.size())) {
            line(yaml, open.size(), name + ":");
            open.add(name);
        }
    }

    private static void line(StringBuilder yaml, int depth, String text) {
        yaml.append(INDENT.repeat(depth)).append(text).append('\n');
    }

    static String sha256(String text) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("Every Java platform has SHA-256", impossible);
        }
    }
}
