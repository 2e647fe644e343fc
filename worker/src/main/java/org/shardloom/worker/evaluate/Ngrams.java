package org.shardloom.worker.evaluate;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The runs of n consecutive units of a text, counted. */
final class Ngrams {
    private final Map<List<String>, Integer> counts = new HashMap<>();
    private int total;

    private Ngrams() {}

    static Ngrams of(List<String> units, int n) {
        Ngrams ngrams = new Ngrams();
        for (int i = 0; i + n <= units.size(); i++) {
            ngrams.counts.merge(units.subList(i, i + n), 1, Integer::sum);
            ngrams.total++;
        }
        return ngrams;
    }

    /** Number of n-grams, repetitions counted. */
    int total() {
        return total;
    }

    /** How many the two share: each counts as often as in the one where it is rarer ("clipped"). */
    int shared(Ngrams other) {
        int shared = 0;
        for (Map.Entry<List<String>, Integer> entry : counts.entrySet()) {
            shared += Math.min(entry.getValue(), other.counts.getOrDefault(entry.getKey(), 0));
        }
        return shared;
    }
}
