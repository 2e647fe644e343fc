package org.shardloom.coordinator.run;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.protocol.message.EvaluationReport.Answer;
import org.shardloom.protocol.message.StepReport;

/**
 * What all ranks together have found in an evaluation.
 *
 * @param loss mean over target tokens, in nats
 * @param scores mean over answers, by metric, from 0 to 1
 * @param emptyAnswers how many answers had nothing in them
 * @param failures what went wrong on some rank
 */
public record StepEvaluation(
        long step,
        double loss,
        int samples,
        Map<String, Double> scores,
        int emptyAnswers,
        List<Answer> answers,
        double seconds,
        List<String> failures) {

    /** Combines the ranks' reports; null where there was no evaluation. */
    static StepEvaluation of(long step, List<StepReport> reports) {
        EvaluationReport first = reports.get(0).evaluation();
        if (first == null) {
            return null;
        }
        List<EvaluationReport> all = reports.stream()
                .map(StepReport::evaluation)
                .filter(Objects::nonNull)
                .toList();
        List<Answer> answers = new ArrayList<>();
        all.forEach(r -> answers.addAll(r.answers()));
        answers.sort(Comparator.comparingInt(Answer::sample));
        Map<String, Double> scores = new LinkedHashMap<>();
        answers.forEach(a -> a.scores().forEach((name, value) -> scores.merge(name, value, Double::sum)));
        scores.replaceAll((name, sum) -> sum / answers.size());
        return new StepEvaluation(
                step,
                first.loss(),
                first.samples(),
                scores,
                (int) answers.stream().filter(a -> a.answer().isBlank()).count(),
                answers,
                all.stream().mapToDouble(EvaluationReport::seconds).max().orElse(0),
                all.stream()
                        .map(EvaluationReport::failure)
                        .filter(Objects::nonNull)
                        .toList());
    }

    /** e to the loss. */
    public double perplexity() {
        return Math.exp(loss);
    }

    /** One line for people. */
    public String describe() {
        String text = String.format(
                Locale.ROOT,
                "evaluation after step %d: loss %.4f, perplexity %.4g over %d samples",
                step,
                loss,
                perplexity(),
                samples);
        if (answers.isEmpty()) {
            return text;
        }
        return text
                + scores.entrySet().stream()
                        .map(e -> String.format(Locale.ROOT, "%s %.4f", e.getKey(), e.getValue()))
                        .collect(Collectors.joining(", ", "; ", ""))
                + String.format(Locale.ROOT, " (%d answers, %d empty)", answers.size(), emptyAnswers);
    }
}
