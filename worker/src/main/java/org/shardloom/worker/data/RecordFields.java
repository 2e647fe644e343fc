package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Locale;

/** Reads a record's fields, and says what is wrong with them by name. */
final class RecordFields {
    private RecordFields() {}

    /** Whether a field is missing or null. */
    static boolean absent(JsonNode node) {
        return node.isMissingNode() || node.isNull();
    }

    /** A field that must be there. */
    static JsonNode required(JsonNode node, String key, String where) throws MalformedRecordException {
        JsonNode value = node.path(key);
        if (value.isMissingNode()) {
            throw new MalformedRecordException("`" + where + key + "` is missing");
        }
        return value;
    }

    /**
     * A string that must be there.
     *
     * @param where the field's place in the record, ending with a dot, or nothing
     */
    static String text(JsonNode node, String key, String where) throws MalformedRecordException {
        JsonNode value = required(node, key, where);
        if (!value.isTextual()) {
            throw new MalformedRecordException("`" + where + key + "` must be a string, not " + kind(value));
        }
        return value.asText();
    }

    /** A string, or nothing where the field is absent. */
    static String optionalText(JsonNode node, String key, String where) throws MalformedRecordException {
        return absent(node.path(key)) ? "" : text(node, key, where);
    }

    /** An array that must be there. */
    static JsonNode array(JsonNode node, String key) throws MalformedRecordException {
        JsonNode value = required(node, key, "");
        requireArray(value, key);
        return value;
    }

    static void requireArray(JsonNode node, String name) throws MalformedRecordException {
        if (!node.isArray()) {
            throw new MalformedRecordException("`" + name + "` must be an array, not " + kind(node));
        }
    }

    /** Whole numbers. */
    static int[] ints(JsonNode node, String key) throws MalformedRecordException {
        JsonNode array = array(node, key);
        int[] ints = new int[array.size()];
        for (int i = 0; i < ints.length; i++) {
            JsonNode number = array.get(i);
            if (!number.isIntegralNumber() || !number.canConvertToInt()) {
                throw new MalformedRecordException("`" + key + "[" + i + "]` must be a whole number, not " + number);
            }
            ints[i] = number.intValue();
        }
        return ints;
    }

    /** Whether a turn is learned: its {@code loss}, and without one, whether the assistant speaks. */
    static boolean learned(JsonNode turn, Role role, String where) throws MalformedRecordException {
        JsonNode loss = turn.path("loss");
        if (absent(loss)) {
            return role == Role.ASSISTANT;
        }
        if (!loss.isBoolean()) {
            throw new MalformedRecordException("`" + where + "loss` must be true or false");
        }
        if (loss.asBoolean() && role != Role.ASSISTANT) {
            throw new MalformedRecordException("`" + where + "loss` is true for the role "
                    + role.name().toLowerCase(Locale.ROOT) + "; only an assistant's messages can be learned");
        }
        return loss.asBoolean();
    }

    /** What a value is, with its article. */
    static String kind(JsonNode node) {
        String kind = node.getNodeType().name().toLowerCase(Locale.ROOT);
        return node.isNull() ? "null" : (kind.matches("[aeiou].*") ? "an " : "a ") + kind;
    }
}
