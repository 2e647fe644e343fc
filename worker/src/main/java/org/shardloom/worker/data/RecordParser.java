package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Turns records into conversations whose messages follow {@link SpeakingOrder}. */
final class RecordParser {
    /** Whose messages await an answer. */
    private static final Set<Role> ASKING = Set.of(Role.USER, Role.OBSERVATION);

    private static final String TOOLS_ELSEWHERE = "training on tool calls needs data.format: chatglm3";

    private RecordParser() {}

    /**
     * The conversation of a record; what comes after the last answer is left out.
     *
     * @param tools whether the template can lay out tool calls
     * @throws MalformedRecordException if the record does not follow its format
     */
    static List<Message> conversation(DataFormat format, JsonNode record, boolean tools)
            throws MalformedRecordException {
        List<Message> messages =
                switch (format) {
                    case ALPACA -> alpaca(record);
                    case SHAREGPT -> shareGpt(record);
                    case CHATGLM3 -> Glm3Records.messages(record);
                    case PRETOKENIZED -> throw new IllegalArgumentException("pretokenized records have no messages");
                };
        if (!tools && format == DataFormat.CHATGLM3 && Glm3Records.usesTools(record, messages)) {
            throw new MalformedRecordException(
                    "the conversation has tools, which only ChatGLM3's template (data.template: chatglm3) can lay out");
        }
        if (!messages.isEmpty()
                && ASKING.contains(messages.get(messages.size() - 1).role())) {
            messages.remove(messages.size() - 1);
        }
        SpeakingOrder.check(messages);
        return messages;
    }

    /**
     * The sample of a pretokenized record.
     *
     * @throws MalformedRecordException if the record does not follow its format
     */
    static Sample pretokenized(JsonNode record) throws MalformedRecordException {
        int[] ids = RecordFields.ints(record, "input_ids");
        int[] labels = RecordFields.ints(record, "labels");
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
        addSystem(messages, RecordFields.optionalText(record, "system", ""));
        JsonNode history = record.path("history");
        if (!RecordFields.absent(history)) {
            RecordFields.requireArray(history, "history");
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
        messages.add(Message.of(
                Role.USER,
                RecordFields.text(record, "instruction", "") + RecordFields.optionalText(record, "input", "")));
        messages.add(Message.of(Role.ASSISTANT, RecordFields.text(record, "output", "")));
        return messages;
    }

    private static List<Message> shareGpt(JsonNode record) throws MalformedRecordException {
        refuseTools(record);
        List<Message> messages = new ArrayList<>();
        addSystem(messages, RecordFields.optionalText(record, "system", ""));
        JsonNode turns = RecordFields.array(record, "conversations");
        for (int i = 0; i < turns.size(); i++) {
            JsonNode turn = turns.get(i);
            String where = "conversations[" + i + "].";
            String from = RecordFields.text(turn, "from", where);
            Role role =
                    switch (from) {
                        case "human", "user" -> Role.USER;
                        case "gpt", "assistant" -> Role.ASSISTANT;
                        case "system" -> Role.SYSTEM;
                        case "function_call", "observation", "tool" -> throw new MalformedRecordException(
                                "`" + where + "from` is `" + from + "`: " + TOOLS_ELSEWHERE);
                        default -> throw new MalformedRecordException(
                                "`" + where + "from` is `" + from + "`; it must be human, gpt or system");
                    };
            String value = RecordFields.text(turn, "value", where);
            messages.add(new Message(role, "", value, RecordFields.learned(turn, role, where)));
        }
        return messages;
    }

    private static void addSystem(List<Message> messages, String system) {
        if (!system.isEmpty()) {
            messages.add(Message.of(Role.SYSTEM, system));
        }
    }

    private static void refuseTools(JsonNode record) throws MalformedRecordException {
        JsonNode tools = record.path("tools");
        boolean empty = RecordFields.absent(tools)
                || tools.isContainerNode() && tools.isEmpty()
                || tools.isTextual() && tools.asText().isBlank();
        if (!empty) {
            throw new MalformedRecordException("`tools`: " + TOOLS_ELSEWHERE);
        }
    }
}
