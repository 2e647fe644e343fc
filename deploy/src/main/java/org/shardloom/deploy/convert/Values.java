package org.shardloom.deploy.convert;

import java.util.List;
import java.util.stream.Collectors;

/** Values of other tools' settings, whose types their formats tell loosely. */
final class Values {
    private Values() {}

    static long number(Object value) {
        return Math.round(real(value));
    }

    static double real(Object value) {
        try {
            return Double.parseDouble(String.valueOf(value));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("'" + value + "' is not a number");
        }
    }

    static boolean isTrue(Object value) {
        return String.valueOf(value).equalsIgnoreCase("true");
    }

    static String[] listed(Object value) {
        return String.valueOf(
                        value instanceof List<?> list
                                ? list.stream().map(String::valueOf).collect(Collectors.joining(","))
                                : value)
                .split("[,\\s]+");
    }
}
