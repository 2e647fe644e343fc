package org.shardloom.deploy.convert;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A job file in the making: its settings, and what of the other tool's settings it could not take. */
public final class JobDraft {
    private static final List<String> SECTIONS = List.of(
            "model",
            "tokenizer",
            "data",
            "method",
            "train",
            "precision",
            "zero",
            "gradient_checkpointing",
            "checkpoint",
            "evaluation",
            "workers",
            "device",
            "output_dir");

    private final Map<String, String> values = new LinkedHashMap<>();
    private final List<String> left = new ArrayList<>();
    private final List<String> assumed = new ArrayList<>();
    private final List<String> decided = new ArrayList<>();

    /** Sets a key of the job file; a later value replaces an earlier one. Texts that YAML would take for something else are quoted. */
    void set(String key, Object value) {
        String text = String.valueOf(value).replace("\n", " ");
        boolean plain = !(value instanceof String) || text.matches("[\\w./+~-]+");
        values.put(key, plain ? text : "'" + text.replace("'", "''") + "'");
    }

    /** Sets a key to a list. */
    void setList(String key, List<String> items) {
        values.put(key, items.stream().map(i -> "\"" + i + "\"").collect(Collectors.joining(", ", "[", "]")));
    }

    /**
     * Paths in a job file are relative to it, those of the settings to where the command runs: makes them absolute where the job file goes
     * to another directory. A name that is no file here, such as a model's on a hub, stays as it is.
     */
    public void moveTo(Path directory) {
        if (directory.toAbsolutePath().normalize().equals(Path.of("").toAbsolutePath())) {
            return;
        }
        for (String key : List.of("model.path", "tokenizer", "data.train", "data.eval", "output_dir")) {
            String value = values.get(key);
            if (value != null && !value.startsWith("'") && (key.equals("output_dir") || Files.exists(Path.of(value)))) {
                set(key, Path.of(value).toAbsolutePath().normalize().toString());
            }
        }
    }

    /** What a key was set to, or null. */
    String get(String key) {
        return values.get(key);
    }

    void remove(String key) {
        values.remove(key);
    }

    /** Something was not carried over. */
    void leave(String name, Object value, String why) {
        left.add(name + ": " + value + " - " + why);
    }

    /** Something was not said: the other tool's default was taken. */
    void assume(String name, Object value) {
        assumed.add(name + ": " + value);
    }

    /** Something was not said, and the other tool's default is not known or follows from other settings. */
    void decide(String name, Object value, String why) {
        decided.add(name + ": " + value + " - " + why);
    }

    /** Leaves out a key that was set, if it was. */
    void leaveOut(String key, String why) {
        if (values.containsKey(key)) {
            leave(key, values.remove(key), why);
        }
    }

    /** What was not said and is decided here, a line each. */
    public List<String> decided() {
        return List.copyOf(decided);
    }

    /** The other tool's defaults that were taken. */
    public List<String> assumed() {
        return List.copyOf(assumed);
    }

    /** What was not carried over, a line each. */
    public List<String> left() {
        return List.copyOf(left);
    }

    /** The job file's text, sections in their usual order, with what was left out as comments. */
    public String yaml() {
        StringBuilder text = new StringBuilder();
        for (String section : SECTIONS) {
            if (values.containsKey(section)) {
                text.append(section).append(": ").append(values.get(section)).append('\n');
            }
            Map<String, Object> tree = tree(section + ".");
            if (!tree.isEmpty()) {
                text.append(section).append(":\n");
                write(tree, "  ", text);
            }
        }
        if (!assumed.isEmpty()) {
            text.append("\n# Not said, so the other tool's own default was taken:\n");
            assumed.forEach(line -> text.append("#   ").append(line).append('\n'));
        }
        if (!decided.isEmpty()) {
            text.append("\n# Not said, so decided here:\n");
            decided.forEach(line -> text.append("#   ").append(line).append('\n'));
        }
        if (!left.isEmpty()) {
            text.append("\n# Not carried over:\n");
            left.forEach(
                    line -> text.append("#   ").append(line.replace("\n", " ")).append('\n'));
        }
        return text.toString();
    }

    @SuppressWarnings("unchecked")
    private Map<String, Object> tree(String prefix) {
        Map<String, Object> tree = new LinkedHashMap<>();
        values.forEach((key, value) -> {
            if (key.startsWith(prefix)) {
                String[] path = key.substring(prefix.length()).split("\\.");
                Map<String, Object> at = tree;
                for (int i = 0; i + 1 < path.length; i++) {
                    at = (Map<String, Object>) at.computeIfAbsent(path[i], k -> new LinkedHashMap<String, Object>());
                }
                at.put(path[path.length - 1], value);
            }
        });
        return tree;
    }

    @SuppressWarnings("unchecked")
    private static void write(Map<String, Object> tree, String indent, StringBuilder text) {
        tree.forEach((key, value) -> {
            text.append(indent).append(key).append(':');
            if (value instanceof Map<?, ?> inner) {
                text.append('\n');
                write((Map<String, Object>) inner, indent + "  ", text);
            } else {
                text.append(' ').append(value).append('\n');
            }
        });
    }
}
