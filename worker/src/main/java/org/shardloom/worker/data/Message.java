package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * One message of a conversation.
 *
 * @param role who speaks
 * @param metadata the name of the tool that an assistant calls, else empty
 * @param content the text
 * @param learned whether an assistant's message is a training target
 */
public record Message(Role role, String metadata, String content, boolean learned) {

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
        return of(Role.SYSTEM, content + "\n" + PythonJson.indented(tools));
    }
}
