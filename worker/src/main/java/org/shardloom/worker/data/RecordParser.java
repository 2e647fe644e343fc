package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Turns records into conversations: at most one system message, then users and assistants in turn. */
final class RecordParser {
    private RecordParser() {}

    /**
     * The conversation of a record; a last question without an answer is left out.
     *
     * @throws MalformedRecordException if the record does not follow its format
     */
    static List<Message> conversation(DataFormat format, JsonNode record) throws MalformedRecordException {
        List<Message> messages =
                switch (format) {
                    case ALPACA -> alpaca(record);
                    case SHAREGPT -> shareGpt(record);
                    case CHATGLM3 -> chatGlm3(record);
                    case PRETOKENIZED -> throw new IllegalArgumentException("pretokenized records have no messages");
                };
        if (!messages.isEmpty() && messages.get(messages.size() - 1).role() == Role.USER) {
            messages.remove(messages.size() - 1);
        }
        requireTurns(messages);
        return messages;
    }

    /**
     * The sample of a pretokenized record.
     *
     * @throws MalformedRecordException if the record does not follow its format
     */
    static Sample pretokenized(JsonNode record) throws MalformedRecordException {
        int[] ids = ints(record, "input_ids");
        int[] labels = ints(record, "labels");
        if (ids.length != labels.length) {
            throw new MalformedRecordException("`input_ids` has " + ids.length + " numbers but `labels` "
                    + labels.length + "; they must be of one length");
        }
        if (ids.length == 0) {
            throw new MalformedRecordException("`input_ids` is empty");
        }
        return new Sample(ids, labels, false);
    }

    private static List<Message> alpaca(JsonNode record) throws MalformedRecordException {
        List<Message> messages = new ArrayList<>();
        addSystem(messages, optionalText(record, "system"));
        JsonNode history = record.path("history");
        if (!absent(history)) {
            requireArray(history, "history");
            for (int i = 0; i < history.size(); i++) {
                JsonNode pair = history.get(i);
                if (!pair.isArray()
                        || pair.size() != 2
                        || !pair.get(0).isTextual()
                        || !pair.get(1).isTextual()) {
                    throw new MalformedRecordException("`history[" + i + "]` must be a pair [question, answer]");
                }
                messages.add(Message.of(Role.USER, pair.get(0).asText()));
                messages.add(Message.of(Role.ASSISTANT, pair.get(1).asText()));
            }
        }
        messages.add(Message.of(Role.USER, text(record, "instruction") + optionalText(record, "input")));
        messages.add(Message.of(Role.ASSISTANT, text(record, "output")));
        return messages;
    }

    private static List<Message> shareGpt(JsonNode record) throws MalformedRecordException {
        refuseTools(record);
        List<Message> messages = new ArrayList<>();
        addSystem(messages, optionalText(record, "system"));
        JsonNode turns = turns(record);
        for (int i = 0; i < turns.size(); i++) {
            JsonNode turn = turns.get(i);
            String where = "conversations[" + i + "].";
            String from = text(turn, "from", where);
            Role role =
                    switch (from) {
                        case "human", "user" -> Role.USER;
                        case "gpt", "assistant" -> Role.ASSISTANT;
                        case "system" -> Role.SYSTEM;
                        case "function_call", "observation", "tool" -> throw toolCall(where + "from", from);
                        default -> throw new MalformedRecordException(
                                "`" + where + "from` is `" + from + "`; it must be human, gpt or system");
                    };
            messages.add(Message.of(role, text(turn, "value", where)));
        }
        return messages;
    }

    private static List<Message> chatGlm3(JsonNode record) throws MalformedRecordException {
        refuseTools(record);
        List<Message> messages = new ArrayList<>();
        JsonNode turns = turns(record);
        for (int i = 0; i < turns.size(); i++) {
            JsonNode turn = turns.get(i);
            String where = "conversations[" + i + "].";
            String name = text(turn, "role", where);
            Role role =
                    switch (name) {
                        case "user" -> Role.USER;
                        case "assistant" -> Role.ASSISTANT;
                        case "system" -> Role.SYSTEM;
                        case "tool", "observation" -> throw toolCall(where + "role", name);
                        default -> throw new MalformedRecordException(
                                "`" + where + "role` is `" + name + "`; it must be system, user or assistant");
                    };
            String content = text(turn, "content", where);
            messages.add(new Message(role, "", content, learned(turn, role, where)));
        }
        return messages;
    }

    private static boolean learned(JsonNode turn, Role role, String where) throws MalformedRecordException {
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

    private static void requireTurns(List<Message> messages) throws MalformedRecordException {
        int first = !messages.isEmpty() && messages.get(0).role() == Role.SYSTEM ? 1 : 0;
        if (messages.size() == first) {
            throw new MalformedRecordException("the conversation has no answer to learn from");
        }
        for (int i = first; i < messages.size(); i++) {
            Role expected = (i - first) % 2 == 0 ? Role.USER : Role.ASSISTANT;
            if (messages.get(i).role() != expected) {
                throw new MalformedRecordException("message " + (i + 1) + " of the conversation is from the "
                        + messages.get(i).role().name().toLowerCase(Locale.ROOT) + " where the "
                        + expected.name().toLowerCase(Locale.ROOT)
                        + " should speak; there must be at most one system message, first, then user and assistant"
                        + " in turn");
            }
        }
    }

    private static void addSystem(List<Message> messages, String system) {
        if (!system.isEmpty()) {
            messages.add(Message.of(Role.SYSTEM, system));
        }
    }

    private static void refuseTools(JsonNode record) throws MalformedRecordException {
        JsonNode tools = record.path("tools");
        boolean empty = absent(tools)
                || tools.isContainerNode() && tools.isEmpty()
                || tools.isTextual() && tools.asText().isBlank();
        if (!empty) {
            throw new MalformedRecordException("`tools`: training on tool calls is not supported yet");
        }
    }

    private static MalformedRecordException toolCall(String where, String value) {
        return new MalformedRecordException(
                "`" + where + "` is `" + value + "`: training on tool calls is not supported yet");
    }

    private static JsonNode turns(JsonNode record) throws MalformedRecordException {
        JsonNode turns = record.path("conversations");
        if (turns.isMissingNode()) {
            throw new MalformedRecordException("`conversations` is missing");
        }
        requireArray(turns, "conversations");
        return turns;
    }

    private static void requireArray(JsonNode node, String name) throws MalformedRecordException {
        if (!node.isArray()) {
            throw new MalformedRecordException("`" + name + "` must be an array, not " + kind(node));
        }
    }

    private static int[] ints(JsonNode record, String key) throws MalformedRecordException {
        JsonNode array = record.path(key);
        if (array.isMissingNode()) {
            throw new MalformedRecordException("`" + key + "` is missing");
        }
        requireArray(array, key);
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

    private static String text(JsonNode node, String key) throws MalformedRecordException {
        return text(node, key, "");
    }

    private static String text(JsonNode node, String key, String where) throws MalformedRecordException {
        JsonNode value = node.path(key);
        if (value.isMissingNode()) {
            throw new MalformedRecordException("`" + where + key + "` is missing");
        }
        if (!value.isTextual()) {
            throw new MalformedRecordException("`" + where + key + "` must be a string, not " + kind(value));
        }
        return value.asText();
    }

    private static String optionalText(JsonNode node, String key) throws MalformedRecordException {
        return absent(node.path(key)) ? "" : text(node, key);
    }

    private static boolean absent(JsonNode node) {
        return node.isMissingNode() || node.isNull();
    }

    private static String kind(JsonNode node) {
        String kind = node.getNodeType().name().toLowerCase(Locale.ROOT);
        return node.isNull() ? "null" : (kind.matches("[aeiou].*") ? "an " : "a ") + kind;
    }
}
