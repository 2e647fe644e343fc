package org.shardloom.worker.data;

import java.util.Arrays;
import java.util.List;

/**
 * Puts a prefix and rounds of questions and answers together, within the length limits.
 *
 * <pre>
 * ids     prefix | question 1 | answer 1 | question 2 | answer 2 | eos
 * labels  -100.. | -100..     | answer 1 | E -100..   | answer 2 | eos
 * </pre>
 *
 * E, the end of an answer that is not the last, depends on {@link Between}.
 *
 * @param prefix tokens before the first question
 * @param reserve tokens of the length limit that are neither questions nor answers
 * @param keptTail so many last tokens of a question survive its cutting
 * @param between how an answer that is not the last ends
 * @param eosId the id that ends a text
 */
record TurnLayout(int[] prefix, int reserve, int keptTail, Between between, int eosId) {

    /** How an answer that is not the last ends. */
    enum Between {
        /** The ids have no end; the label where the next question begins is the end of text. */
        EOS_LABEL,
        /** The ids have no end; the model learns the first token of the next question. */
        NEXT_TOKEN,
        /** The end of text stands among the ids. */
        EOS_TOKEN
    }

    /**
     * A question and its answer.
     *
     * @param question its tokens; none where an answer follows an answer
     * @param answer its tokens, beginning with {@code header} tokens that are layout, not text
     * @param header how many
     * @param learned whether the answer is a target
     */
    record Round(int[] question, int[] answer, int header, boolean learned) {}

    Sample layOut(List<Round> rounds, int maxLength, int maxSourceLength) {
        Ids ids = new Ids(maxLength).add(prefix);
        Ids labels = new Ids(maxLength).fill(Sample.IGNORED, prefix.length);
        boolean truncated = false;
        boolean full = false;
        Round previous = null;
        for (int k = 0; k < rounds.size() && !full; k++) {
            Round round = rounds.get(k);
            int[] question = cut(round.question(), maxSourceLength);
            truncated |= question.length < round.question().length;
            int ending = previous != null && between == Between.EOS_TOKEN ? 1 : 0;
            int room = maxLength - reserve - (ids.size() - prefix.length) - ending - question.length;
            boolean hasText = round.answer().length > round.header();
            boolean answerFits = room >= round.header() + (hasText ? 1 : 0);
            if (!answerFits && previous == null) {
                ids.add(question);
                return new Sample(
                        ids.toArray(),
                        labels.fill(Sample.IGNORED, question.length).toArray(),
                        true);
            }
            if (!answerFits) {
                truncated = true;
                break;
            }
            if (previous != null) {
                endAnswer(ids, labels, previous, question.length > 0 ? question : round.answer());
            }
            ids.add(question);
            labels.fill(Sample.IGNORED, Math.max(0, ids.size() - labels.size()));
            int kept = Math.min(room, round.answer().length);
            full = kept < round.answer().length;
            truncated |= full;
            addAnswerLabels(labels, round, labels.size() - ids.size(), kept);
            ids.add(round.answer(), kept);
            previous = round;
        }
        ids.add(eosId);
        labels.add(previous != null && previous.learned() ? eosId : Sample.IGNORED);
        return new Sample(ids.toArray(), labels.toArray(), truncated);
    }

    /** Adds an answer's labels, of which the first {@code ahead} are there already. */
    private static void addAnswerLabels(Ids labels, Round round, int ahead, int kept) {
        if (round.learned()) {
            labels.add(Arrays.copyOfRange(round.answer(), ahead, kept));
        } else {
            labels.fill(Sample.IGNORED, kept - ahead);
        }
    }

    /**
     * Adds what ends an answer that is not the last; labels may then be one ahead of the ids.
     *
     * @param next the tokens after the answer
     */
    private void endAnswer(Ids ids, Ids labels, Round previous, int[] next) {
        if (between == Between.EOS_TOKEN) {
            ids.add(eosId);
            labels.add(previous.learned() ? eosId : Sample.IGNORED);
        } else if (previous.learned()) {
            labels.add(between == Between.EOS_LABEL ? eosId : next[0]);
        }
    }

    private int[] cut(int[] question, int limit) {
        if (question.length <= limit) {
            return question;
        }
        int tail = Math.min(keptTail, limit);
        int[] result = Arrays.copyOf(question, limit);
        System.arraycopy(question, question.length - tail, result, limit - tail, tail);
        return result;
    }
}
