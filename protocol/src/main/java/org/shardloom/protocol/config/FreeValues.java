package org.shardloom.protocol.config;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;

/** Values without a schema: strings, booleans, longs, doubles, and lists and maps of these. */
final class FreeValues {
    private static final int MAX_DEPTH = 8;
    private static final int MAX_VALUES = 10_000;

    private FreeValues() {}

    /** Reads a node; aliases that would blow it up, or that lead back to it, are an error. */
    static Object read(Node node) throws BadValueException {
        return read(node, 0, new int[1]);
    }

    private static Object read(Node node, int depth, int[] count) throws BadValueException {
        if (depth > MAX_DEPTH || ++count[0] > MAX_VALUES) {
            throw new BadValueException(node, "the value is nested too deeply or too large");
        }
        if (node instanceof ScalarNode scalar) {
            return readScalar(scalar);
        }
        if (node instanceof SequenceNode sequence) {
            List<Object> values = new ArrayList<>();
            for (Node item : sequence.getValue()) {
                values.add(read(item, depth + 1, count));
            }
            return Collections.unmodifiableList(values);
        }
        TreeMap<String, Object> values = new TreeMap<>();
        for (NodeTuple tuple : ((MappingNode) node).getValue()) {
            String key = Nodes.text(tuple.getKeyNode(), "a key");
            if (values.put(key, read(tuple.getValueNode(), depth + 1, count)) != null) {
                throw new BadValueException(tuple.getKeyNode(), "key '" + Nodes.shown(key) + "' stands here twice");
            }
        }
        return Collections.unmodifiableMap(values);
    }

    private static Object readScalar(ScalarNode scalar) throws BadValueException {
        String text = Nodes.text(scalar, "a value");
        if (!Nodes.isPlain(scalar)) {
            return text;
        }
        if (ValueTypes.isInteger(text)) {
            return ValueTypes.LONG.read(scalar, null);
        }
        if (ValueTypes.isNumber(text)) {
            return ValueTypes.number("a finite number", x -> true).read(scalar, null);
        }
        return switch (text) {
            case "true", "True", "TRUE" -> true;
            case "false", "False", "FALSE" -> false;
            default -> text;
        };
    }

    /** Copies deeply, in canonical types and order. */
    static Map<String, Object> copyOf(Map<?, ?> map) {
        TreeMap<String, Object> copy = new TreeMap<>();
        map.forEach((key, value) -> copy.put((String) key, copyOfValue(value)));
        return Collections.unmodifiableMap(copy);
    }

    private static Object copyOfValue(Object value) {
        if (value instanceof Map<?, ?> map) {
            return copyOf(map);
        }
        if (value instanceof List<?> list) {
            return list.stream().map(FreeValues::copyOfValue).toList();
        }
        if (value instanceof Double || value instanceof Float) {
            return ((Number) value).doubleValue() + 0.0;
        }
        if (value instanceof Number number) {
            return number.longValue();
        }
        if (value instanceof String || value instanceof Boolean) {
            return value;
        }
        throw new IllegalArgumentException("A job file can't hold this value: " + value);
    }

    /** Writes a value as one line of YAML; whatever is not a number or a boolean is written as quoted text. */
    static String render(Object value) {
        if (value instanceof Number || value instanceof Boolean) {
            return value.toString();
        }
        if (value instanceof List<?> list) {
            return list.stream().map(FreeValues::render).collect(Collectors.joining(", ", "[", "]"));
        }
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                    .map(entry -> renderKey((String) entry.getKey()) + ": " + render(entry.getValue()))
                    .collect(Collectors.joining(", ", "{", "}"));
        }
        return quote(value.toString());
    }

    /** Writes a key, quoted where it needs to be. */
    static String renderKey(String key) {
        return key.matches("[a-z][a-z0-9_]*") && !key.equals("null") ? key : quote(key);
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        text.codePoints().forEach(c -> {
            if (c == '"' || c == '\\') {
                quoted.append('\\').appendCodePoint(c);
            } else if (needsEscape(c)) {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.appendCodePoint(c);
            }
        });
        return quoted.append('"').toString();
    }

    private static boolean needsEscape(int c) {
        return Character.isISOControl(c)
                || c == 0x2028
                || c == 0x2029
                || c == 0xfeff
                || (c >= 0xd800 && c <= 0xdfff)
                || c == 0xfffe
                || c == 0xffff;
    }
}
