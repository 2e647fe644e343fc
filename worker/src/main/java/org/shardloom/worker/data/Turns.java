package org.shardloom.worker.data;

import java.util.ArrayList;
import java.util.List;

/** A conversation as rounds of one question and, except perhaps for the last, one answer. */
final class Turns {
    private final String system;
    private final List<Message> questions = new ArrayList<>();
    private final List<Message> answers = new ArrayList<>();

    private Turns(String system) {
        this.system = system;
    }

    /**
     * @throws IllegalArgumentException if roles do not take turns
     */
    static Turns of(List<Message> conversation) {
        boolean hasSystem = !conversation.isEmpty() && conversation.get(0).role() == Role.SYSTEM;
        Turns turns = new Turns(hasSystem ? conversation.get(0).content() : "");
        for (int i = hasSystem ? 1 : 0; i < conversation.size(); i++) {
            Message message = conversation.get(i);
            boolean question = turns.questions.size() == turns.answers.size();
            if (message.role() != (question ? Role.USER : Role.ASSISTANT)) {
                throw new IllegalArgumentException("message " + i + " is from " + message.role() + " out of turn");
            }
            (question ? turns.questions : turns.answers).add(message);
        }
        if (turns.questions.isEmpty()) {
            throw new IllegalArgumentException("the conversation has no question");
        }
        return turns;
    }

    /** The system message's text, or nothing. */
    String system() {
        return system;
    }

    int size() {
        return questions.size();
    }

    Message question(int round) {
        return questions.get(round);
    }

    boolean answered(int round) {
        return round < answers.size();
    }

    /**
     * @throws IllegalArgumentException if the round has no answer
     */
    Message answer(int round) {
        if (!answered(round)) {
            throw new IllegalArgumentException("the last question has no answer");
        }
        return answers.get(round);
    }
}
