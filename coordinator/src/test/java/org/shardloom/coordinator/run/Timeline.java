package org.shardloom.coordinator.run;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Random;

/** Virtual time: what will happen when, in an order that follows from the seed, and what has happened. */
final class Timeline {
    private record Event(long time, long number, String what, Runnable action) {}

    private final PriorityQueue<Event> events =
            new PriorityQueue<>(Comparator.comparingLong(Event::time).thenComparingLong(Event::number));
    private final Map<String, Long> links = new HashMap<>();
    private final List<String> trace = new ArrayList<>();
    private final Random random;
    private long now = 1000;
    private long number;

    Timeline(Random random) {
        this.random = random;
    }

    long now() {
        return now;
    }

    /** Something happens later. */
    void after(long millis, String what, Runnable action) {
        at(now + millis, what, action);
    }

    void at(long time, String what, Runnable action) {
        events.add(new Event(time, number++, what, action));
    }

    /** A message from one end to another; later ones on the same way do not overtake it. */
    void send(String way, String what, Runnable action) {
        long time = Math.max(now + 1 + random.nextInt(4), links.getOrDefault(way, 0L));
        links.put(way, time);
        at(time, what, action);
    }

    /** Lets the next thing happen; false when there is none. */
    boolean next(String where) {
        Event next = events.poll();
        if (next == null) {
            return false;
        }
        now = next.time();
        note(where, next.what());
        next.action().run();
        return true;
    }

    void note(String where, String what) {
        trace.add(now + " " + where + " " + what);
    }

    /** The last that has happened, for messages. */
    String tail() {
        return String.join("\n", trace.subList(Math.max(0, trace.size() - 120), trace.size()));
    }
}
