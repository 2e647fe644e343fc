package org.shardloom.worker.data;

import java.util.List;
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
     * Lays out a conversation for training.
     *
     * @param conversation at most one system message, first; then user and assistant in turn
     * @param maxLength the most tokens in all
     * @param maxSourceLength the most tokens of one question, a system message counting with the first
     * @return the sample; without any label if nothing of the answer fits
     */
    Sample encode(List<Message> conversation, int maxLength, int maxSourceLength);

    /**
     * Lays out a conversation for generation: the model's answer comes next.
     *
     * @param conversation the messages so far, the last not the assistant's
     * @return the tokens, special tokens included
     */
    int[] prompt(List<Message> conversation);

    /** The tokenizer whose ids this template uses. */
    Tokenizer tokenizer();

    /** Changes whenever the layout or the tokenizer does; part of a cache's key. */
    String fingerprint();

    /** The template of the tokenizer's family. */
    static ChatTemplate of(Tokenizer tokenizer) {
        return switch (tokenizer.family()) {
            case GLM2 -> new Glm2Template(tokenizer);
            case GLM3 -> new Glm3Template(tokenizer);
            case PLAIN -> new PlainTemplate(tokenizer);
        };
    }
}
