package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * JSON values as Python writes them, for texts that models learned from Python programs: {@code json.dumps(value,
 * ensure_ascii=False)}, with and without {@code indent=4}, and {@code repr(value)}.
 */
final class PythonText {
    private static final String INDENT = "    ";
    /** From here on, and below 1e-4, Python's numbers have exponents. */
    private static final int LARGEST_PLAIN_EXPONENT = 15;

    private final boolean json;
    private final boolean lines;
    private final StringBuilder text = new StringBuilder();

    private PythonText(boolean json, boolean lines) {
        this.json = json;
        this.lines = lines;
    }

    /** {@code json.dumps(value, ensure_ascii=False)}. */
    static String json(JsonNode value) {
        return new PythonText(true, false).write(value, 0).toString();
    }

    /** {@code json.dumps(text, ensure_ascii=False)} of a string. */
    static String json(String text) {
        PythonText result = new PythonText(true, false);
        result.string(text);
        return result.text.toString();
    }

    /** {@code json.dumps(value, indent=4, ensure_ascii=False)}. */
    static String indentedJson(JsonNode value) {
        return new PythonText(true, true).write(value, 0).toString();
    }

    /** {@code repr(value)} of what {@code json.loads} makes of the value. */
    static String repr(JsonNode value) {
        return new PythonText(false, false).write(value, 0).toString();
    }

    private StringBuilder write(JsonNode value, int depth) {
        switch (value.getNodeType()) {
            case OBJECT -> {
                List<Runnable> items = new ArrayList<>();
                for (Iterator<Map.Entry<String, JsonNode>> i = value.fields(); i.hasNext(); ) {
                    Map.Entry<String, JsonNode> field = i.next();
                    items.add(() -> {
                        string(field.getKey());
                        text.append(": ");
                        write(field.getValue(), depth + 1);
                    });
                }
                list('{', items, '}', depth);
            }
            case ARRAY -> {
                List<Runnable> items = new ArrayList<>();
                value.forEach(item -> items.add(() -> write(item, depth + 1)));
                list('[', items, ']', depth);
            }
            case STRING -> string(value.textValue());
            case BOOLEAN -> text.append(json ? value.asText() : value.asBoolean() ? "True" : "False");
            case NUMBER -> text.append(value.isIntegralNumber() ? value.asText() : number(value.doubleValue()));
            case NULL -> text.append(json ? "null" : "None");
            default -> throw new IllegalArgumentException("no JSON value: " + value.getNodeType());
        }
        return text;
    }

    private void list(char begin, List<Runnable> items, char end, int depth) {
        text.append(begin);
        for (int i = 0; i < items.size(); i++) {
            text.append(i == 0 ? "" : lines ? "," : ", ").append(lineStart(depth + 1));
            items.get(i).run();
        }
        text.append(items.isEmpty() ? "" : lineStart(depth)).append(end);
    }

    private String lineStart(int depth) {
        return lines ? "\n" + INDENT.repeat(depth) : "";
    }

    private void string(String value) {
        char quote = json || value.indexOf('\'') >= 0 && value.indexOf('"') < 0 ? '"' : '\'';
        text.append(quote);
        value.codePoints().forEach(c -> character(c, quote));
        text.append(quote);
    }

    private void character(int c, char quote) {
        if (c == quote || c == '\\') {
            text.append('\\').append((char) c);
        } else if (c == '\n') {
            text.append("\\n");
        } else if (c == '\r') {
            text.append("\\r");
        } else if (c == '\t') {
            text.append("\\t");
        } else if (json && c == '\b') {
            text.append("\\b");
        } else if (json && c == '\f') {
            text.append("\\f");
        } else if (json ? c >= ' ' : isPrintable(c)) {
            text.appendCodePoint(c);
        } else {
            String format = json ? "\\u%04x" : c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
            text.append(String.format(Locale.ROOT, format, c));
        }
    }

    private static boolean isPrintable(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR -> false;
            case Character.SPACE_SEPARATOR -> c == ' ';
            default -> true;
        };
    }

    /** The shortest decimal number that is read back as the same double, as Python's {@code repr} gives it. */
    private static String number(double value) {
        if (value == 0) {
            return 1 / value > 0 ? "0.0" : "-0.0";
        }
        BigDecimal exact = new BigDecimal(value);
        BigDecimal shortest = exact;
        for (int digits = 1; digits <= 17; digits++) {
            shortest = exact.round(new MathContext(digits));
            if (shortest.doubleValue() == value) {
                break;
            }
        }
        shortest = shortest.stripTrailingZeros();
        int exponent = shortest.precision() - shortest.scale() - 1;
        if (exponent >= -4 && exponent <= LARGEST_PLAIN_EXPONENT) {
            return shortest.setScale(Math.max(1, shortest.scale())).toPlainString();
        }
        String digits = shortest.unscaledValue().abs().toString();
        String fraction = digits.length() == 1 ? "" : "." + digits.substring(1);
        return (value < 0 ? "-" : "")
                + digits.charAt(0)
                + fraction
                + String.format(Locale.ROOT, "e%s%02d", exponent < 0 ? "-" : "+", Math.abs(exponent));
    }
}
