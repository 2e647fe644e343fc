package org.shardloom.deploy.convert;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;

/** Reads the settings of another tool's file, whatever its kind, as one flat map: {@code zero_optimization.stage} to 3. */
public final class ForeignSettings {
    /** A word of a shell: pieces with and without quotes, close together. */
    private static final Pattern WORD = Pattern.compile("(?:\"(?:[^\"\\\\]|\\\\.)*\"|'[^']*'|[^\\s\"'])+");
    /** Ends a command. */
    private static final Pattern OPERATOR = Pattern.compile("\\d*[<>].*|&.*|\\|.*|;.*");

    /** Flags that take several words. */
    private static final Set<String> LISTS =
            Set.of("target_modules", "lora_target", "lora_module_name", "freeze_module_name");

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
        Map<String, Object> flags = new LinkedHashMap<>();
        flat.lines().forEach(line -> ofCommand(line, flags));
        return flags;
    }

    /** A flag has one word after it at most, unless it is known to take several: what follows is another argument. */
    private static void ofCommand(String line, Map<String, Object> flags) {
        List<String> words = new ArrayList<>();
        Matcher word = WORD.matcher(line);
        while (word.find() && !OPERATOR.matcher(word.group()).matches()) {
            words.add(word.group().replaceAll("[\"']", ""));
        }
        for (int i = 0; i < words.size(); i++) {
            if (!words.get(i).startsWith("--") || words.get(i).equals("--")) {
                devices(words.get(i), flags);
                continue;
            }
            String name = words.get(i).substring(2);
            int equals = name.indexOf('=');
            if (equals > 0) {
                flags.put(name.substring(0, equals), name.substring(equals + 1));
            } else if (i + 1 < words.size() && !words.get(i + 1).startsWith("--")) {
                String value = words.get(++i);
                while (LISTS.contains(name)
                        && i + 1 < words.size()
                        && !words.get(i + 1).startsWith("--")) {
                    value += "," + words.get(++i);
                }
                flags.put(name, value);
            } else {
                flags.put(name, Boolean.TRUE);
            }
        }
    }

    private static void devices(String word, Map<String, Object> flags) {
        if (word.startsWith("CUDA_VISIBLE_DEVICES=")) {
            flags.put("gpus", (long) word.substring(word.indexOf('=') + 1).split(",").length);
        }
    }
}
