package org.shardloom.coordinator.run;

import java.util.function.Consumer;

/** How many workers the run should have, and who waits to hear that it has them. */
final class WantedWorkers {
    private final Consumer<Effect> effects;
    private int count;
    private long since;
    /** The request that is not answered yet, or null. */
    private Long request;

    WantedWorkers(int count, Consumer<Effect> effects) {
        this.count = count;
        this.effects = effects;
    }

    int count() {
        return count;
    }

    /** When the number was last asked for. */
    long since() {
        return since;
    }

    /** Someone asks for another number. */
    void ask(long newRequest, int newCount, long now) {
        answer("replaced by a later request for " + newCount);
        request = newRequest;
        count = newCount;
        since = now;
    }

    /** One more, whom nobody asked for. */
    void oneMore() {
        count++;
    }

    /** The number is out of reach. */
    void lower(int newCount, String why) {
        if (newCount < count) {
            count = newCount;
            answer(why);
        }
    }

    /** Answers the open request, if there is one; null is success. */
    void answer(String error) {
        if (request != null) {
            effects.accept(new Effect.AnswerScale(request, error));
            request = null;
        }
    }
}
