package org.shardloom.protocol.config;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoublePredicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.SequenceNode;

/** The types of the job file's values. Each states its range, so that type and range give one message. */
final class ValueTypes {
    private static final Pattern INTEGER = Pattern.compile("[-+]?[0-9]+");
    private static final Pattern NUMBER = Pattern.compile("[-+]?(\\.[0-9]+|[0-9]+(\\.[0-9]*)?)([eE][-+]?[0-9]+)?");

    static final ValueType<Integer> POSITIVE = integer("a positive integer", 1, Integer.MAX_VALUE);
    static final ValueType<Integer> COUNT = integer("an integer of 0 or more", 0, Integer.MAX_VALUE);
    static final ValueType<Long> LONG = new Scalar<>("an integer", ValueTypes::readLong);
    static final ValueType<Double> ABOVE_ZERO = number("a number above 0", x -> x > 0);
    static final ValueType<Double> NOT_NEGATIVE = number("a number of 0 or more", x -> x >= 0);
    static final ValueType<Double> FRACTION = number("a number from 0 to 1", x -> x >= 0 && x <= 1);
    static final ValueType<Boolean> BOOLEAN = new Scalar<>("true or false", ValueTypes::readBoolean);
    static final ValueType<String> TEXT = new Scalar<>("text", ValueTypes::readText);
    static final ValueType<Path> DIRECTORY = new PathType("a directory");
    static final ValueType<Path> FILE = new PathType("a file");
    static final ValueType<List<Path>> FILES = new ListType<>("a file or a list of files", FILE, 1, Integer.MAX_VALUE);
    static final ValueType<List<String>> TEXTS = new ListType<>("a list of texts", TEXT, 0, Integer.MAX_VALUE);
    static final ValueType<List<Double>> WEIGHTS =
            new ListType<>("a list of numbers above 0", ABOVE_ZERO, 0, Integer.MAX_VALUE);
    static final ValueType<List<Double>> BETAS = new ListType<>(
            "two numbers in [0, 1)", number("a number of at least 0 and below 1", x -> x >= 0 && x < 1), 2, 2);

    static final ValueType<Map<String, Object>> OPTIONS = new OptionsType();

    private ValueTypes() {}

    static ValueType<Integer> integer(String expected, int least, int most) {
        return new Scalar<>(expected, (node, name, base) -> {
            long value = readLong(node, name, base);
            if (value < least || value > most) {
                throw Nodes.mismatch(node, name);
            }
            return (int) value;
        });
    }

    static ValueType<Double> number(String expected, DoublePredicate inRange) {
        return new Scalar<>(expected, (node, name, base) -> {
            String text = Nodes.plainText(node, name);
            double value = isNumber(text) ? Double.parseDouble(text) : Double.NaN;
            if (!Double.isFinite(value) || !inRange.test(value)) {
                throw Nodes.mismatch(node, name);
            }
            return value + 0.0; // -0.0 becomes 0.0, so that equal configurations render alike
        });
    }

    static <E extends Enum<E>> ValueType<E> choice(Class<E> type) {
        return new Choice<>(type);
    }

    static <E extends Enum<E>> ValueType<List<E>> choices(Class<E> type) {
        Choice<E> choice = new Choice<>(type);
        return new ListType<>("a list of " + String.join(", ", choice.names()), choice, 1, Integer.MAX_VALUE);
    }

    static boolean isInteger(String text) {
        return INTEGER.matcher(text).matches();
    }

    static boolean isNumber(String text) {
        return NUMBER.matcher(text).matches();
    }

    private static Long readLong(Node node, String expected, Path base) throws BadValueException {
        String text = Nodes.plainText(node, expected);
        if (!isInteger(text)) {
            throw Nodes.mismatch(node, expected);
        }
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException tooLong) {
            throw new BadValueException(
                    node, "expected " + expected + ", found a number out of range, " + Nodes.found(node));
        }
    }

    private static Boolean readBoolean(Node node, String expected, Path base) throws BadValueException {
        return switch (Nodes.plainText(node, expected)) {
            case "true", "True", "TRUE" -> true;
            case "false", "False", "FALSE" -> false;
            default -> throw Nodes.mismatch(node, expected);
        };
    }

    private static String readText(Node node, String expected, Path base) throws BadValueException {
        String text = Nodes.text(node, expected);
        if (text.isBlank()) {
            throw Nodes.mismatch(node, expected);
        }
        return text;
    }

    private interface Reader<T> {
        T read(Node node, String expected, Path base) throws BadValueException;
    }

    private record Scalar<T>(String expected, Reader<T> reader) implements ValueType<T> {
        @Override
        public T read(Node node, Path base) throws BadValueException {
            return reader.read(node, expected, base);
        }
    }

    private record PathType(String expected) implements ValueType<Path> {
        @Override
        public Path read(Node node, Path base) throws BadValueException {
            try {
                return base.resolve(readText(node, expected, base)).normalize();
            } catch (InvalidPathException bad) {
                throw Nodes.mismatch(node, expected);
            }
        }
    }

    /** A list; where one element suffices, it may stand without brackets. */
    private record ListType<T>(String expected, ValueType<T> element, int least, int most)
            implements ValueType<List<T>> {
        @Override
        public List<T> read(Node node, Path base) throws BadValueException {
            List<T> values = new ArrayList<>();
            if (node instanceof SequenceNode sequence) {
                for (Node item : sequence.getValue()) {
                    values.add(element.read(item, base));
                }
                if (values.size() < least || values.size() > most) {
                    throw new BadValueException(node, "expected " + expected + ", found a list of " + values.size());
                }
            } else if (least <= 1 && Nodes.isScalar(node)) {
                values.add(element.read(node, base));
            } else {
                throw Nodes.mismatch(node, expected);
            }
            return List.copyOf(values);
        }

        @Override
        public String render(List<T> value) {
            return value.stream().map(element::render).collect(Collectors.joining(", ", "[", "]"));
        }
    }

    private record Choice<E extends Enum<E>>(Class<E> type) implements ValueType<E> {
        List<String> names() {
            return Arrays.stream(type.getEnumConstants()).map(this::render).toList();
        }

        @Override
        public String expected() {
            List<String> names = names();
            return names.size() == 1 ? names.get(0) : "one of " + String.join(", ", names);
        }

        @Override
        public E read(Node node, Path base) throws BadValueException {
            String text = Nodes.text(node, expected());
            for (E constant : type.getEnumConstants()) {
                if (render(constant).equals(text)) {
                    return constant;
                }
            }
            String hint = Nearest.of(text, names())
                    .map(name -> " - did you mean '" + name + "'?")
                    .orElse("");
            throw new BadValueException(node, "expected " + expected() + ", found " + Nodes.found(node) + hint);
        }

        @Override
        public String render(E value) {
            return value.name().toLowerCase(Locale.ROOT);
        }
    }

    /** Whatever else stands in a section; the reader gives it the options one by one. */
    private record OptionsType() implements ValueType<Map<String, Object>> {
        @Override
        public String expected() {
            return "any values";
        }

        @Override
        public Map<String, Object> read(Node node, Path base) throws BadValueException {
            throw Nodes.mismatch(node, expected());
        }
    }
}
