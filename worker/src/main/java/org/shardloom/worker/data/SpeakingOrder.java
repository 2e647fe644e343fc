package org.shardloom.worker.data;

import java.util.List;
import java.util.Locale;

/** Who may speak after whom. */
final class SpeakingOrder {
    private SpeakingOrder() {}

    /**
     * Checks a conversation: at most one system message, first; then user and assistant in turn. A tool call may come
     * right after an assistant's message, which then is its reason; the tool's result follows, and then the assistant.
     *
     * @throws MalformedRecordException if somebody speaks out of turn, or the assistant never
     */
    static void check(List<Message> messages) throws MalformedRecordException {
        int first = !messages.isEmpty() && messages.get(0).role() == Role.SYSTEM ? 1 : 0;
        if (messages.size() == first) {
            throw new MalformedRecordException("the conversation has no answer to learn from");
        }
        Role expected = Role.USER;
        for (int i = first; i < messages.size(); i++) {
            Message message = messages.get(i);
            boolean callWithReason = expected == Role.USER && i > first && message.callsTool();
            if (message.role() != expected && !callWithReason) {
                throw new MalformedRecordException("message " + (i + 1) + " of the conversation is from the "
                        + name(message.role()) + " where the " + name(expected)
                        + " should speak; there must be at most one system message, first, then user and assistant"
                        + " in turn, and after a tool call its result");
            }
            expected = after(message);
        }
    }

    private static Role after(Message message) {
        return switch (message.role()) {
            case SYSTEM -> Role.USER;
            case USER, OBSERVATION -> Role.ASSISTANT;
            case ASSISTANT -> message.callsTool() ? Role.OBSERVATION : Role.USER;
        };
    }

    private static String name(Role role) {
        return role.name().toLowerCase(Locale.ROOT);
    }
}
