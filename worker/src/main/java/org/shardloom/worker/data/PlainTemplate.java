package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * Models without a chat format: {@code BOS QUESTION ANSWER EOS}, and so on for every round, BOS only once and only if
 * the tokenizer has one. An over-long question is cut at its end. With empty questions this is training on plain text.
 * A system message is a line of its own before the first question.
 */
public final class PlainTemplate implements ChatTemplate {
    private final Tokenizer tokenizer;
    private final int[] prefix;
    private final TurnLayout layout;

    /**
     * @param tokenizer any tokenizer
     */
    public PlainTemplate(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
        this.prefix =
                tokenizer.bosId().isPresent() ? new int[] {tokenizer.bosId().getAsInt()} : new int[0];
        this.layout = new TurnLayout(prefix, prefix.length + 1, 0, TurnLayout.Between.EOS_TOKEN, tokenizer.eosId());
    }

    @Override
    public Sample encode(List<Message> conversation, int maxLength, int maxSourceLength) {
        List<TurnLayout.Round> rounds = new ArrayList<>();
        Turns turns = Turns.of(conversation);
        for (int k = 0; k < turns.size(); k++) {
            Message answer = turns.answer(k);
            rounds.add(
                    new TurnLayout.Round(question(turns, k), tokenizer.encode(answer.content()), 0, answer.learned()));
        }
        return layout.layOut(rounds, maxLength, maxSourceLength);
    }

    @Override
    public int[] prompt(List<Message> conversation) {
        Turns turns = Turns.of(conversation);
        Ids ids = new Ids(64).add(prefix);
        for (int k = 0; k < turns.size(); k++) {
            ids.add(question(turns, k));
            if (turns.answered(k)) {
                ids.add(tokenizer.encode(turns.answer(k).content())).add(tokenizer.eosId());
            }
        }
        return ids.toArray();
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    @Override
    public String fingerprint() {
        return "plain-1:" + tokenizer.fingerprint();
    }

    private int[] question(Turns turns, int k) {
        String system = k == 0 && !turns.system().isEmpty() ? turns.system() + "\n" : "";
        return tokenizer.encode(system + turns.question(k).content());
    }
}
