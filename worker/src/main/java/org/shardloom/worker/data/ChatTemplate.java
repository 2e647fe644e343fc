package org.shardloom.worker.data;

import java.util.List;
import java.util.Set;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * Lays conversations out as tokens, for training and for generation.
 *
 * <p>Training: every assistant's message is learned unless it says otherwise, and so is the token that ends it. A
 * question longer than the source limit is cut; the conversation is cut at its end where the sample is full, and a round
 * of which no answer token fits is left out with all that follow. If nothing of the first answer fits, the sample has
 * no labels.
 */
public interface ChatTemplate {

    /**
     * Lays out a conversation for training, as one sample.
     *
     * @param conversation at most one system message, first; then user and assistant in turn; a template that
     *     {@link #hasTools} also takes tool calls and their results
     * @param maxLength the most tokens in all
     * @param maxSourceLength the most tokens of one question, a system message counting with the first
     * @return the sample; without any label if nothing of the answer fits
     */
    Sample encode(List<Message> conversation, int maxLength, int maxSourceLength);

    /**
     * All samples of a conversation: one, unless a model can't learn several answers in a sample.
     *
     * @param conversation as for {@link #encode}, and so the limits
     * @return at least one sample, in the order of the answers that they teach
     */
    default List<Sample> samples(List<Message> conversation, int maxLength, int maxSourceLength) {
        return List.of(encode(conversation, maxLength, maxSourceLength));
    }

    /**
     * Lays out a conversation for generation: the model's answer comes next.
     *
     * @param conversation the messages so far, the last not the assistant's
     * @return the tokens, special tokens included
     */
    int[] prompt(List<Message> conversation);

    /**
     * An answer as a message of the conversation.
     *
     * @param text as the model wrote it, decoded
     */
    default Message answer(String text) {
        return Message.of(Role.ASSISTANT, text.strip());
    }

    /** How many tokens at the beginning of an answer are the layout's own: learned, but given to the model when it is asked. */
    default int answerHeader() {
        return 0;
    }

    /** The ids any of which ends a generated answer; they are no part of it. */
    default Set<Integer> stops() {
        return Set.of(tokenizer().eosId());
    }

    /** Whether conversations may have tool calls and their results. */
    default boolean hasTools() {
        return false;
    }

    /** The tokenizer whose ids this template uses. */
    Tokenizer tokenizer();

    /** Changes whenever the layout or the tokenizer does; part of a cache's key. */
    String fingerprint();

    /** The template of the tokenizer's family, with the prompts of the family's own chat. */
    static ChatTemplate of(Tokenizer tokenizer) {
        return of(tokenizer, false);
    }

    /**
     * The template of the tokenizer's family.
     *
     * @param trained prompts are to be as in training samples, for models that were trained with them
     */
    static ChatTemplate of(Tokenizer tokenizer, boolean trained) {
        return switch (tokenizer.family()) {
            case GLM1 -> new Glm1Template(tokenizer, trained);
            case GLM2 -> new Glm2Template(tokenizer);
            case GLM3 -> new Glm3Template(tokenizer);
            case PLAIN -> new PlainTemplate(tokenizer);
        };
    }
}
