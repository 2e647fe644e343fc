package org.shardloom.worker.evaluate;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.Collectors;

/**
 * The result of an evaluation.
 *
 * @param samples number of answers that were scored
 * @param emptyAnswers how many of them were empty or white space
 * @param emptyReferences how many had nothing to be like: these score 0 whatever the answer is
 * @param values of every metric, between 0 and 1; none where there was no sample
 */
public record Scores(int samples, int emptyAnswers, int emptyReferences, Map<Metric, Double> values) {
    public Scores {
        if (samples < 0 || emptyAnswers < 0 || emptyAnswers > samples) {
            throw new IllegalArgumentException(emptyAnswers + " empty answers of " + samples + " samples");
        }
        if (emptyReferences < 0 || emptyReferences > samples) {
            throw new IllegalArgumentException(emptyReferences + " empty references of " + samples + " samples");
        }
        if (values.size() != (samples == 0 ? 0 : Metric.values().length)) {
            throw new IllegalArgumentException(values.size() + " metrics of " + samples + " samples");
        }
        Map<Metric, Double> copy = new EnumMap<>(Metric.class);
        copy.putAll(values);
        values = Collections.unmodifiableMap(copy);
    }

    /** The metric's value; empty where there was no sample. */
    public OptionalDouble value(Metric metric) {
        Double value = values.get(metric);
        return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
    }

    /** One line for people. */
    public String describe() {
        if (samples == 0) {
            return "no samples: nothing was scored";
        }
        String references = emptyReferences == 0 ? "" : ", " + emptyReferences + " empty references (which score 0)";
        return values.entrySet().stream()
                .map(e -> String.format(Locale.ROOT, "%s %.4f", e.getKey().label(), e.getValue()))
                .collect(Collectors.joining(
                        ", ", samples + " samples, " + emptyAnswers + " empty answers" + references + ": ", ""));
    }
}
