package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * ChatGLM2: {@code [gMASK] sop "[Round 1]\n\n问：QUESTION\n\n答：" ANSWER </s>}.
 *
 * <p>An over-long question keeps its last tokens, the {@code \n\n答：}. Later rounds follow after {@code \n\n} without an
 * end of text between, as in the prompt that the model sees when it chats; that an answer ends there is learned through
 * the label. A system message stands before the first round.
 */
public final class Glm2Template implements ChatTemplate {
    private static final String ANSWER_MARK = "\n\n答：";

    private final Tokenizer tokenizer;
    private final int[] newline;
    private final int[] prefix;
    private final TurnLayout layout;

    /**
     * @param tokenizer a tokenizer with ChatGLM2's special tokens
     */
    public Glm2Template(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
        this.newline = tokenizer.encode("\n");
        this.prefix = new int[] {Ids.special(tokenizer, "[gMASK]"), Ids.special(tokenizer, "sop")};
        this.layout = new TurnLayout(
                prefix,
                prefix.length + 1,
                continued(ANSWER_MARK).length,
                TurnLayout.Between.EOS_LABEL,
                tokenizer.eosId());
    }

    @Override
    public Sample encode(List<Message> conversation, int maxLength, int maxSourceLength) {
        List<TurnLayout.Round> rounds = new ArrayList<>();
        Turns turns = Turns.of(conversation);
        for (int k = 0; k < turns.size(); k++) {
            String question = question(turns, k);
            int[] ids = k == 0 ? tokenizer.encode(question) : continued("\n\n" + question);
            Message answer = turns.answer(k);
            rounds.add(new TurnLayout.Round(ids, tokenizer.encode(answer.content()), 0, answer.learned()));
        }
        return layout.layOut(rounds, maxLength, maxSourceLength);
    }

    @Override
    public int[] prompt(List<Message> conversation) {
        Turns turns = Turns.of(conversation);
        StringBuilder text = new StringBuilder();
        for (int k = 0; k < turns.size(); k++) {
            text.append(k == 0 ? "" : "\n\n").append(question(turns, k));
            text.append(turns.answered(k) ? turns.answer(k).content() : "");
        }
        return new Ids(64).add(prefix).add(tokenizer.encode(text.toString())).toArray();
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    @Override
    public String fingerprint() {
        return "glm2-1:" + tokenizer.fingerprint();
    }

    private static String question(Turns turns, int k) {
        String system = k == 0 && !turns.system().isEmpty() ? turns.system() + "\n\n" : "";
        return system + "[Round " + (k + 1) + "]\n\n问：" + turns.question(k).content() + ANSWER_MARK;
    }

    /** Encodes text that begins with a newline as it would be encoded in the middle of a text: without a blank. */
    private int[] continued(String text) {
        int[] ids = tokenizer.encode(text);
        boolean blankFirst = newline.length == 2 && ids.length > 1 && ids[0] == newline[0] && ids[1] == newline[1];
        return blankFirst ? Arrays.copyOfRange(ids, 1, ids.length) : ids;
    }
}
