package org.shardloom.deploy.convert;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;

/** Reads the settings of another tool's file, whatever its kind, as one flat map: {@code zero_optimization.stage} to 3. */
public final class ForeignSettings {
    private static final Pattern WORD = Pattern.compile("\"((?:[^\"\\\\]|\\\\.)*)\"|'([^']*)'|(\\S+)");

    private ForeignSettings() {}

    /**
     * YAML or JSON.
     *
     * @throws IllegalArgumentException when it is neither, or no mapping; the message says where
     */
    public static Map<String, Object> ofYaml(String text, String where) {
        Object root;
        try {
            root = new Load(LoadSettings.builder().setLabel(where).build()).loadFromString(text);
        } catch (YamlEngineException e) {
            throw new IllegalArgumentException(where + " is neither YAML nor JSON: "
                    + e.getMessage().lines().findFirst().orElse(""));
        }
        if (!(root instanceof Map<?, ?> map)) {
            throw new IllegalArgumentException(where + " holds no settings: it is no mapping of names to values");
        }
        Map<String, Object> flat = new LinkedHashMap<>();
        flatten("", map, flat);
        return flat;
    }

    private static void flatten(String prefix, Map<?, ?> map, Map<String, Object> flat) {
        map.forEach((key, value) -> {
            String name = prefix.isEmpty() ? String.valueOf(key) : prefix + "." + key;
            if (value instanceof Map<?, ?> inner) {
                flatten(name, inner, flat);
            } else if (value != null) {
                flat.put(name, value);
            }
        });
    }

    /**
     * The flags of a command line or of a shell script that has one: {@code --max_len 1560}, {@code --fp16}. Variables that the script
     * sets are put in.
     */
    public static Map<String, Object> ofFlags(String text) {
        Map<String, String> variables = new LinkedHashMap<>();
        Matcher assignment = Pattern.compile("(?m)^\\s*(?:export\\s+)?([A-Za-z_][A-Za-z_0-9]*)=(\\S+)\\s*$")
                .matcher(text);
        while (assignment.find()) {
            variables.put(assignment.group(1), assignment.group(2).replaceAll("^[\"']|[\"']$", ""));
        }
        String flat = text.replaceAll("(?m)#.*$", "").replaceAll("\\\\\\s*\\n", " ");
        for (Map.Entry<String, String> variable : variables.entrySet()) {
            flat = flat.replace("${" + variable.getKey() + "}", variable.getValue())
                    .replaceAll("\\$" + variable.getKey() + "\\b", Matcher.quoteReplacement(variable.getValue()));
        }
        List<String> words = new ArrayList<>();
        Matcher word = WORD.matcher(flat);
        while (word.find()) {
            words.add(word.group(1) != null ? word.group(1) : word.group(2) != null ? word.group(2) : word.group(3));
        }
        Map<String, Object> flags = new LinkedHashMap<>();
        for (int i = 0; i < words.size(); i++) {
            if (!words.get(i).startsWith("--")) {
                devices(words.get(i), flags);
                continue;
            }
            String name = words.get(i).substring(2);
            int equals = name.indexOf('=');
            if (equals > 0) {
                flags.put(name.substring(0, equals), name.substring(equals + 1));
                continue;
            }
            StringJoiner value = new StringJoiner(" ");
            while (i + 1 < words.size() && !words.get(i + 1).startsWith("--")) {
                value.add(words.get(++i));
            }
            flags.put(name, value.length() == 0 ? Boolean.TRUE : value.toString());
        }
        return flags;
    }

    private static void devices(String word, Map<String, Object> flags) {
        if (word.startsWith("CUDA_VISIBLE_DEVICES=")) {
            flags.put("gpus", (long) word.substring(word.indexOf('=') + 1).split(",").length);
        }
    }
}
