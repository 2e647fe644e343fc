package org.shardloom.worker.evaluate;

import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Scores answers against references, one pair after the other. An empty answer scores 0 and is counted, even where the reference is
 * empty too: a model that says nothing must not look right. One thread.
 */
public final class Scorer {
    private final Map<Metric, Double> sums = new EnumMap<>(Metric.class);
    private final Bleu corpus = new Bleu();
    private int samples;
    private int emptyAnswers;
    private int emptyReferences;

    /**
     * Scores a pair and adds it to the whole.
     *
     * @return the sample's own values, of all metrics but {@link Metric#CORPUS_BLEU_4}
     */
    public Map<Metric, Double> add(String answer, String reference) {
        Segmentation language = Segmentation.of(answer, reference);
        List<String> answerUnits = language.bleuUnits(answer), referenceUnits = language.bleuUnits(reference);
        corpus.add(answerUnits, referenceUnits);
        Map<Metric, Double> scores = new EnumMap<>(Metric.class);
        if (Answers.isEmpty(answer)) {
            for (Metric metric : Metric.values()) {
                scores.put(metric, 0.0);
            }
            scores.remove(Metric.CORPUS_BLEU_4);
            emptyAnswers++;
        } else {
            List<String> answerWords = language.rougeUnits(answer), referenceWords = language.rougeUnits(reference);
            scores.put(Metric.ROUGE_1, Rouge.n(answerWords, referenceWords, 1).f1());
            scores.put(Metric.ROUGE_2, Rouge.n(answerWords, referenceWords, 2).f1());
            scores.put(Metric.ROUGE_L, Rouge.l(answerWords, referenceWords).f1());
            scores.put(Metric.BLEU_4, Bleu.sentence(answerUnits, referenceUnits));
            scores.put(Metric.EXACT_MATCH, Answers.equal(answer, reference) ? 1.0 : 0.0);
            scores.put(Metric.LINE_F1, Answers.lines(answer, reference).f1());
        }
        samples++;
        emptyReferences += Answers.isEmpty(reference) ? 1 : 0;
        scores.forEach((metric, score) -> sums.merge(metric, score, Double::sum));
        return scores;
    }

    /** The result so far. */
    public Scores scores() {
        if (samples == 0) {
            return new Scores(0, 0, 0, Map.of());
        }
        Map<Metric, Double> values = new EnumMap<>(Metric.class);
        sums.forEach((metric, sum) -> values.put(metric, sum / samples));
        values.put(Metric.CORPUS_BLEU_4, corpus.corpus());
        return new Scores(samples, emptyAnswers, emptyReferences, values);
    }
}
