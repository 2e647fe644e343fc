package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.worker.tokenizer.Tokenizer;

/**
 * ChatGLM-6B: {@code "[Round 1]\n问：QUESTION\n答：" [gMASK] <sop> ANSWER <eop>}.
 *
 * <p>Attention in everything before {@code <sop>} goes both ways, so what stands there can't be learned: a conversation
 * becomes one sample for each learned answer, with all before it as source. With earlier rounds, rounds count from 0, as
 * in the prompt that the model sees when it chats; a first question alone is round 1 in training, as in the reference
 * data set, but bare when chatting with a model that was not trained so. A system message is a line before the source.
 *
 * <p>The source limit holds for the whole source without {@code [gMASK]}. Of a source that is too long the oldest rounds
 * are left out; if the question alone is still too long, it keeps its last tokens, the {@code \n答：}. Labels begin at
 * {@code <sop>}.
 */
public final class Glm1Template implements ChatTemplate {
    private static final String ANSWER_MARK = "\n答：";
    private static final int[] NO_PREFIX = {};

    private final Tokenizer tokenizer;
    private final int mask;
    private final int start;
    private final TurnLayout layout;
    private final boolean trained;

    /**
     * @param tokenizer a tokenizer with ChatGLM-6B's special tokens
     */
    public Glm1Template(Tokenizer tokenizer) {
        this(tokenizer, false);
    }

    /**
     * @param tokenizer a tokenizer with ChatGLM-6B's special tokens
     * @param trained whether the prompt of a first question is as in training
     */
    Glm1Template(Tokenizer tokenizer, boolean trained) {
        this.tokenizer = tokenizer;
        this.trained = trained;
        this.mask = Ids.special(tokenizer, "[gMASK]");
        this.start = Ids.special(tokenizer, "<sop>");
        // What survives a cut is the mark, which begins with a blank only when it is encoded alone, and [gMASK].
        int keptTail = tokenizer.encode(ANSWER_MARK).length - 1 + 1;
        // Each sample is a single round, so how rounds follow each other does not matter.
        this.layout = new TurnLayout(NO_PREFIX, 1, keptTail, TurnLayout.Between.EOS_TOKEN, tokenizer.eosId());
    }

    @Override
    public Sample encode(List<Message> conversation, int maxLength, int maxSourceLength) {
        Turns turns = Turns.of(conversation);
        return sample(turns, turns.size() - 1, maxLength, maxSourceLength);
    }

    @Override
    public List<Sample> samples(List<Message> conversation, int maxLength, int maxSourceLength) {
        Turns turns = Turns.of(conversation);
        List<Sample> samples = new ArrayList<>();
        for (int k = 0; k < turns.size(); k++) {
            if (turns.answer(k).learned()) {
                samples.add(sample(turns, k, maxLength, maxSourceLength));
            }
        }
        // Without a target, but counted.
        return samples.isEmpty() ? List.of(encode(conversation, maxLength, maxSourceLength)) : samples;
    }

    /** The sample whose target is the answer of round {@code last}. */
    private Sample sample(Turns turns, int last, int maxLength, int maxSourceLength) {
        int first = 0;
        int[] source = source(turns, first, last);
        while (source.length > maxSourceLength && first < last) {
            source = source(turns, ++first, last);
        }
        Message answer = turns.answer(last);
        TurnLayout.Round round = new TurnLayout.Round(
                new Ids(64).add(source).add(mask).toArray(),
                new Ids(64).add(start).add(tokenizer.encode(answer.content())).toArray(),
                1,
                answer.learned());
        Sample sample = layout.layOut(List.of(round), maxLength, maxSourceLength + 1);
        return first == 0 ? sample : new Sample(sample.inputIds(), sample.labels(), true);
    }

    private int[] source(Turns turns, int first, int last) {
        String rounds = first == last ? round(1, turns.question(last)) : rounds(turns, first, last);
        return tokenizer.encode(system(turns) + rounds);
    }

    @Override
    public int[] prompt(List<Message> conversation) {
        Turns turns = Turns.of(conversation);
        int last = turns.size() - 1;
        if (turns.answered(last)) {
            throw new IllegalArgumentException("the conversation ends with an answer; a prompt ends with a question");
        }
        String rounds = last > 0
                ? rounds(turns, 0, last)
                : trained ? round(1, turns.question(0)) : turns.question(0).content();
        return new Ids(64)
                .add(tokenizer.encode(system(turns) + rounds))
                .add(mask)
                .add(start)
                .toArray();
    }

    /** Rounds {@code first} to {@code last}, counted from 0, up to where the last answer begins. */
    private static String rounds(Turns turns, int first, int last) {
        StringBuilder text = new StringBuilder();
        for (int k = first; k < last; k++) {
            text.append(round(k - first, turns.question(k)))
                    .append(turns.answer(k).content())
                    .append('\n');
        }
        return text.append(round(last - first, turns.question(last))).toString();
    }

    private static String round(int number, Message question) {
        return "[Round " + number + "]\n问：" + question.content() + ANSWER_MARK;
    }

    private static String system(Turns turns) {
        return turns.system().isEmpty() ? "" : turns.system() + "\n";
    }

    /** {@code <sop>}. */
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
        return "glm1-1:" + tokenizer.fingerprint();
    }
}
