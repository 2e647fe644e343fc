package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * ChatGLM3: {@code [gMASK] sop <|user|> "\n" QUESTION <|assistant|> "\n" ANSWER </s>}.
 *
 * <p>Labels begin at {@code <|assistant|>}. An over-long question is cut at its end. A system message stands before the
 * first question and counts with it. Later rounds follow without an end of text between, as in the prompt that the model
 * sees when it chats; what ends an answer there, and is learned, is the next {@code <|user|>}. A tool call is an answer
 * with the tool's name for its first line, ended by {@code <|observation|>}, which begins the tool's result: a question.
 */
public final class Glm3Template implements ChatTemplate {
    /** The reference keeps three tokens of every sample unused besides prefix and end. */
    private static final int RESERVE = 6;

    private final Tokenizer tokenizer;
    private final int[] prefix;
    private final TurnLayout layout;

    /**
     * @param tokenizer a tokenizer with ChatGLM3's special tokens
     */
    public Glm3Template(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
        this.prefix = new int[] {Ids.special(tokenizer, "[gMASK]"), Ids.special(tokenizer, "sop")};
        this.layout = new TurnLayout(prefix, RESERVE, 0, TurnLayout.Between.NEXT_TOKEN, tokenizer.eosId());
    }

    @Override
    public Sample encode(List<Message> conversation, int maxLength, int maxSourceLength) {
        List<TurnLayout.Round> rounds = new ArrayList<>();
        Ids question = new Ids(64);
        for (Message message : conversation) {
            if (message.role() != Role.ASSISTANT) {
                question.add(message(message));
                continue;
            }
            int header = header(message).length;
            rounds.add(new TurnLayout.Round(question.toArray(), message(message), header, message.learned()));
            question = new Ids(64);
        }
        if (rounds.isEmpty() || question.size() > 0) {
            throw new IllegalArgumentException("the last question has no answer");
        }
        return layout.layOut(rounds, maxLength, maxSourceLength);
    }

    @Override
    public boolean hasTools() {
        return true;
    }

    @Override
    public int[] prompt(List<Message> conversation) {
        Ids ids = new Ids(64).add(prefix);
        for (Message message : conversation) {
            ids.add(message(message));
        }
        return ids.add(Ids.special(tokenizer, "<|assistant|>")).toArray();
    }

    /** The first line is the name of a tool, or empty; what cannot be a name is text, and so is a name that nothing follows. */
    @Override
    public Message answer(String text) {
        int end = text.indexOf('\n');
        String name = end < 0 ? "" : text.substring(0, end).strip();
        String call = text.substring(end + 1).strip();
        return ToolNames.isTool(name) && !call.isEmpty()
                ? new Message(Role.ASSISTANT, name, call, true)
                : Message.of(Role.ASSISTANT, text.strip());
    }

    /** The end of text, and the roles that may speak after an answer: in a conversation their tokens end it. */
    @Override
    public Set<Integer> stops() {
        return Set.of(tokenizer.eosId(), Ids.special(tokenizer, "<|user|>"), Ids.special(tokenizer, "<|observation|>"));
    }

    /**
     * One message: its role token, {@code metadata + "\n"}, and the content, the two encoded separately.
     *
     * @param message any message
     * @return its tokens
     */
    public int[] message(Message message) {
        return new Ids(64)
                .add(header(message))
                .add(tokenizer.encode(message.content()))
                .toArray();
    }

    /** {@code <|assistant|>}. */
    @Override
    public int answerHeader() {
        return 1;
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    @Override
    public String fingerprint() {
        return "glm3-1:" + tokenizer.fingerprint();
    }

    private int[] header(Message message) {
        String name =
                switch (message.role()) {
                    case SYSTEM -> "<|system|>";
                    case USER -> "<|user|>";
                    case ASSISTANT -> "<|assistant|>";
                    case OBSERVATION -> "<|observation|>";
                };
        return new Ids(8)
                .add(Ids.special(tokenizer, name))
                .add(tokenizer.encode(message.metadata() + "\n"))
                .toArray();
    }
}
