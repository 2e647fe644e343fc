package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;

/**
 * Records of ChatGLM3's own fine-tuning format.
 *
 * <pre>
 * {"tools": [any description, ...],
 *  "conversations": [
 *    {"role": "system", "content": "..."},                      at most one, first
 *    {"role": "user", "content": "..."},
 *    {"role": "assistant", "content": "...", "loss": false},    not learned
 *    {"role": "tool", "name": "get_weather", "parameters": {"city": "北京"}, "observation": {"temperature": 3}},
 *    {"role": "assistant", "content": "..."}]}
 * </pre>
 *
 * <p>A {@code tool} turn is two messages: the assistant's call and the result. The same can be written as two turns, as in
 * a chat's history: {@code {"role": "assistant", "metadata": "get_weather", "content": "..."}}, {@code {"role":
 * "observation", "content": "..."}}. Tools stand in the system message, after its text or, without one, after the
 * sentence that the reference puts there. Calls are held against the tools as {@link OfferedTools} understands them.
 */
final class Glm3Records {
    /** What the reference calls where the model runs code; it is not described among the tools. */
    private static final String INTERPRETER = "interpreter";

    private Glm3Records() {}

    static List<Message> messages(JsonNode record) throws MalformedRecordException {
        List<Message> messages = new ArrayList<>();
        JsonNode turns = RecordFields.array(record, "conversations");
        JsonNode tools = record.path("tools");
        if (!RecordFields.absent(tools) && !tools.isContainerNode()) {
            throw new MalformedRecordException(
                    "`tools` must be an array of the tools' descriptions, not " + RecordFields.kind(tools));
        }
        OfferedTools offered = OfferedTools.of(tools);
        for (int i = 0; i < turns.size(); i++) {
            addTurn(messages, turns.get(i), offered, "conversations[" + i + "].");
        }
        if (RecordFields.absent(tools) || tools.isEmpty()) {
            return messages;
        }
        boolean hasSystem = !messages.isEmpty() && messages.get(0).role() == Role.SYSTEM;
        String text = hasSystem ? messages.remove(0).content() : Message.TOOLS_ANNOUNCED;
        messages.add(0, Message.systemWithTools(text, tools));
        return messages;
    }

    /** Whether a record offers or calls tools, which only some templates can lay out. */
    static boolean usesTools(JsonNode record, List<Message> messages) {
        return !record.path("tools").isEmpty()
                || messages.stream().anyMatch(m -> m.callsTool() || m.role() == Role.OBSERVATION);
    }

    private static void addTurn(List<Message> messages, JsonNode turn, OfferedTools offered, String where)
            throws MalformedRecordException {
        String name = RecordFields.text(turn, "role", where);
        if (name.equals("tool")) {
            addToolTurn(messages, turn, offered, where);
            return;
        }
        Role role =
                switch (name) {
                    case "user" -> Role.USER;
                    case "assistant" -> Role.ASSISTANT;
                    case "system" -> Role.SYSTEM;
                    case "observation" -> Role.OBSERVATION;
                    default -> throw new MalformedRecordException("`" + where + "role` is `" + name
                            + "`; it must be system, user, assistant, tool or observation");
                };
        String metadata = RecordFields.optionalText(turn, "metadata", where);
        if (!metadata.isEmpty() && role != Role.ASSISTANT) {
            throw new MalformedRecordException("`" + where + "metadata` is the name of the tool that an assistant"
                    + " calls; the role `" + name + "` has none");
        }
        String content = RecordFields.text(turn, "content", where);
        boolean learned = RecordFields.learned(turn, role, where);
        if (!metadata.isEmpty() && !metadata.equals(INTERPRETER)) {
            requireTool(metadata, offered, where + "metadata");
            if (learned) {
                requireCall(content, metadata, where + "content");
            }
        }
        messages.add(new Message(role, metadata, content, learned));
    }

    /** What cannot be read back as a call would teach the model to write such. */
    private static void requireCall(String content, String tool, String where) throws MalformedRecordException {
        String problem = ToolCode.problem(content);
        if (!problem.isEmpty()) {
            throw new MalformedRecordException("`" + where + "` is no call of " + tool + ": " + problem
                    + "; it reads ```python, tool_call(name=value) and ``` on three lines; or use the role `tool` with `parameters`, or"
                    + " `loss`: false");
        }
    }

    private static void addToolTurn(List<Message> messages, JsonNode turn, OfferedTools offered, String where)
            throws MalformedRecordException {
        String tool = RecordFields.text(turn, "name", where);
        if (tool.isEmpty()) {
            throw new MalformedRecordException("`" + where + "name` is empty; it must name the tool that is called");
        }
        requireTool(tool, offered, where + "name");
        JsonNode parameters = RecordFields.required(turn, "parameters", where);
        if (!parameters.isObject()) {
            throw new MalformedRecordException(
                    "`" + where + "parameters` must be an object, not " + RecordFields.kind(parameters));
        }
        for (Iterator<String> names = parameters.fieldNames(); names.hasNext(); ) {
            String name = names.next();
            if (!ToolNames.isParameter(name)) {
                throw new MalformedRecordException(
                        "`" + where + "parameters`: " + PythonText.json(name)
                                + " cannot be the name of a parameter: a name has letters, digits or _, and does not begin with a digit");
            }
        }
        Optional<String> missing = offered.missing(tool, parameters);
        if (missing.isPresent()) {
            throw new MalformedRecordException("`" + where + "parameters` lacks `" + missing.get()
                    + "`, which `tools` says that " + tool + " needs");
        }
        messages.add(Message.toolCall(tool, parameters, RecordFields.learned(turn, Role.ASSISTANT, where)));
        messages.add(Message.observation(RecordFields.required(turn, "observation", where)));
    }

    private static void requireTool(String tool, OfferedTools offered, String where) throws MalformedRecordException {
        if (!ToolNames.isTool(tool)) {
            throw new MalformedRecordException("`" + where + "` is " + PythonText.json(tool)
                    + ", which cannot be the name of a tool: a name has up to 64 letters, digits, _, - or .,"
                    + " and does not begin with - or .");
        }
        if (!offered.mayBeCalled(tool)) {
            throw new MalformedRecordException("`" + where + "` is `" + tool
                    + "`, which is not among the record's `tools`: " + String.join(", ", offered.names()));
        }
    }
}
