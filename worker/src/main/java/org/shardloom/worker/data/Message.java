package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/**
 * One message of a conversation.
 *
 * @param role who speaks
 * @param metadata the name of the tool that an assistant calls, else empty
 * @param content the text
 * @param learned whether an assistant's message is a training target
 */
public record Message(Role role, String metadata, String content, boolean learned) {

    /** What stands before the descriptions of tools where nothing else is said, as in ChatGLM3's own data. */
    public static final String TOOLS_ANNOUNCED =
            "Answer the following questions as best as you can. You have access to the following tools:";

    /** A message without metadata; an assistant's is a training target. */
    public static Message of(Role role, String content) {
        return new Message(role, "", content, role == Role.ASSISTANT);
    }

    /**
     * A system message that offers tools, as ChatGLM3 expects it.
     *
     * @param content the instructions
     * @param tools the tools' descriptions
     */
    public static Message systemWithTools(String content, JsonNode tools) {
        return of(Role.SYSTEM, content + "\n" + PythonText.indentedJson(tools));
    }

    /**
     * An assistant's message that calls a tool, as ChatGLM3 writes it: {@code tool_call(city='北京', days=3)} in a block
     * of Python.
     *
     * @param tool the tool's name
     * @param parameters an object of its parameters
     * @param learned whether the call is a training target
     */
    public static Message toolCall(String tool, JsonNode parameters, boolean learned) {
        List<String> arguments = new ArrayList<>();
        for (Iterator<Map.Entry<String, JsonNode>> i = parameters.fields(); i.hasNext(); ) {
            Map.Entry<String, JsonNode> parameter = i.next();
            arguments.add(parameter.getKey() + "=" + PythonText.repr(parameter.getValue()));
        }
        String code = "```python\ntool_call(" + String.join(", ", arguments) + ")\n```";
        return new Message(Role.ASSISTANT, tool, code, learned);
    }

    /**
     * A tool's result: text as it is, anything else as JSON.
     *
     * @param result any value
     */
    public static Message observation(JsonNode result) {
        return of(Role.OBSERVATION, result.isTextual() ? result.textValue() : PythonText.json(result));
    }

    /** Whether an assistant calls a tool with it. */
    public boolean callsTool() {
        return role == Role.ASSISTANT && !metadata.isEmpty();
    }
}
