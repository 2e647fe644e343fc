package org.shardloom.deploy.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.generate.Continuation;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.StopTexts;
import org.shardloom.worker.tokenizer.Tokenizer;

/** What was said so far, and how a model's answer to it comes about, word by word. */
final class Conversation {
    private final Generator generator;
    private final StopTexts stops;
    private final Tokenizer tokenizer;
    private final ChatTemplate template;
    private final List<Message> opening = new ArrayList<>();
    private final List<Message> messages = new ArrayList<>();
    private final int maxNewTokens;
    private final boolean hasTools;
    private final Set<String> offered;

    /**
     * Before the first message.
     *
     * @param stops at which the generator ends answers
     * @param system instructions, or null
     * @param tools array of descriptions, or null
     */
    Conversation(
            Generator generator,
            StopTexts stops,
            Tokenizer tokenizer,
            ChatTemplate template,
            String system,
            JsonNode tools,
            int maxNewTokens) {
        this.generator = generator;
        this.stops = stops;
        this.tokenizer = tokenizer;
        this.template = template;
        this.maxNewTokens = maxNewTokens;
        this.hasTools = tools != null;
        this.offered = tools == null ? Set.of() : names(tools);
        if (tools != null) {
            opening.add(Message.systemWithTools(system == null ? Message.TOOLS_ANNOUNCED : system, tools));
        } else if (system != null) {
            opening.add(Message.of(Role.SYSTEM, system));
        }
        clear();
    }

    /** Forgets all but the instructions. */
    void clear() {
        messages.clear();
        messages.addAll(opening);
    }

    /** Does, of what a first message takes, what takes most memory. */
    void rehearse() {
        List<Message> first = new ArrayList<>(opening);
        first.add(Message.of(Role.USER, "?"));
        generator.rehearse(List.of(template.prompt(first)), maxNewTokens);
    }

    /** Whether the model has called a tool: what is said next is its result. */
    boolean awaitsResult() {
        return !messages.isEmpty() && messages.get(messages.size() - 1).callsTool();
    }

    /** Adds a person's message, or a tool's result, and prints the answer as it comes. */
    void say(String line, PrintWriter out) {
        messages.add(awaitsResult() ? Message.observation(result(line)) : Message.of(Role.USER, line));
        StringBuilder shown = new StringBuilder();
        Continuation continuation;
        try {
            continuation =
                    generator.stream(template.prompt(messages), maxNewTokens, tokens -> show(tokens, shown, out));
        } catch (IllegalArgumentException | OutOfMemoryException e) {
            messages.remove(messages.size() - 1);
            out.println("this does not fit any more (" + e.getMessage() + "): /clear begins anew");
            return;
        }
        String said = tokenizer.decode(continuation.tokens());
        String text = stops.cut(said);
        out.println(text.startsWith(shown.toString()) ? text.substring(shown.length()) : "");
        int blanks = said.length() - said.stripLeading().length();
        Message answer = answer(said.substring(0, blanks + text.length()));
        messages.add(answer);
        if (answer.callsTool()) {
            out.println("(the model calls the tool " + answer.metadata() + "; say its result)");
        }
        if (continuation.end() != Continuation.End.STOP) {
            out.println("(cut off after " + continuation.tokens().length + " tokens)");
        }
    }

    /** The call of a tool that was offered, or text. */
    private Message answer(String text) {
        Message answer = hasTools ? template.answer(text) : Message.of(Role.ASSISTANT, text.strip());
        boolean unknown = answer.callsTool() && !offered.isEmpty() && !offered.contains(answer.metadata());
        return unknown ? Message.of(Role.ASSISTANT, text.strip()) : answer;
    }

    /** The names of the tools, as ChatGLM3 or as OpenAI describes them; none where one has no name. */
    private static Set<String> names(JsonNode tools) {
        Set<String> names = new HashSet<>();
        for (JsonNode tool : tools) {
            names.add(
                    tool.path("name").asText(tool.path("function").path("name").asText("")));
        }
        return names.contains("") ? Set.of() : names;
    }

    /** Prints what is new; a character whose bytes are not all there yet waits. */
    private void show(int[] tokens, StringBuilder shown, PrintWriter out) {
        String text = stops.certain(tokenizer.decode(tokens));
        if (text.endsWith("\uFFFD") || !text.startsWith(shown.toString())) {
            return;
        }
        out.print(text.substring(shown.length()));
        out.flush();
        shown.setLength(0);
        shown.append(text);
    }

    /** JSON where it is, text otherwise. */
    private static JsonNode result(String text) {
        try {
            JsonNode parsed = new ObjectMapper().readTree(text);
            return parsed.isContainerNode() ? parsed : TextNode.valueOf(text);
        } catch (JsonProcessingException e) {
            return TextNode.valueOf(text);
        }
    }
}
