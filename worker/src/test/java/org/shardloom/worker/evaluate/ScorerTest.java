package org.shardloom.worker.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class ScorerTest {
    private final Scorer scorer = new Scorer();

    private double value(Metric metric) {
        return scorer.scores().value(metric).orElseThrow();
    }

    @Test
    void noSamplesAreNoScoresAndNoNumber() {
        Scores scores = scorer.scores();
        assertEquals(new Scores(0, 0, 0, Map.of()), scores);
        for (Metric metric : Metric.values()) {
            assertEquals(OptionalDouble.empty(), scores.value(metric));
        }
        assertEquals("no samples: nothing was scored", scores.describe());
    }

    @Test
    void anEmptyAnswerScoresZeroAndIsCounted() {
        for (String empty : List.of("", "\n ")) {
            Map<Metric, Double> sample = scorer.add(empty, "发动机_部件故障_水温高");
            assertEquals(EnumSet.complementOf(EnumSet.of(Metric.CORPUS_BLEU_4)), sample.keySet());
            sample.forEach((metric, score) -> assertEquals(0, score, metric.label()));
        }
        Scores scores = scorer.scores();
        assertEquals(2, scores.samples());
        assertEquals(2, scores.emptyAnswers());
        assertEquals(EnumSet.allOf(Metric.class), scores.values().keySet());
        scores.values().forEach((metric, score) -> assertEquals(0, score, metric.label()));
    }

    @Test
    void anEmptyAnswerToAnEmptyReferenceScoresZeroToo() {
        Map<Metric, Double> nothing = scorer.add("", " \n");
        nothing.forEach((metric, score) -> assertEquals(0, score, metric.label()));
        assertEquals(1, scorer.scores().emptyAnswers());
        Map<Metric, Double> wrong = scorer.add("something", "");
        wrong.forEach((metric, score) -> assertEquals(0, score, metric.label()));
        assertEquals(1, scorer.scores().emptyAnswers());
        assertEquals(2, scorer.scores().emptyReferences());
        assertTrue(scorer.scores().describe().startsWith("2 samples, 1 empty answers, 2 empty references"));
        scorer.scores().values().forEach((metric, score) -> assertEquals(0, score, metric.label()));
    }

    @Test
    void samplesWeighAlikeExceptInCorpusBleu() {
        Map<Metric, Double> first = scorer.add("a b c d e", "a b c d e");
        first.forEach((metric, score) -> assertEquals(1, score, metric.label()));
        Map<Metric, Double> second = scorer.add("police kill the gunman", "police killed the gunman");
        // Hand-counted in RougeTest and BleuTest.
        Map<Metric, Double> expected = new EnumMap<>(Metric.class);
        expected.put(Metric.ROUGE_1, 3.0 / 4);
        expected.put(Metric.ROUGE_2, 1.0 / 3);
        expected.put(Metric.ROUGE_L, 3.0 / 4);
        expected.put(Metric.BLEU_4, Math.pow(3.0 / 4 / 3 / 4 / 4, 0.25));
        expected.put(Metric.EXACT_MATCH, 0.0);
        expected.put(Metric.LINE_F1, 0.0);
        expected.forEach((metric, score) -> assertEquals(score, second.get(metric), 1e-12, metric.label()));
        expected.forEach((metric, score) -> assertEquals((1 + score) / 2, value(metric), 1e-12, metric.label()));
        // Matches (5 + 3) / 9, (4 + 1) / 7, 3 / 5, 2 / 3; 9 words for 9.
        assertEquals(Math.pow(8.0 / 9 * 5 / 7 * 3 / 5 * 2 / 3, 0.25), value(Metric.CORPUS_BLEU_4), 1e-12);
        assertTrue(scorer.scores().describe().startsWith("2 samples, 0 empty answers: rouge-1 0.8750, rouge-2 0.6667"));
    }

    @Test
    void chineseIsScoredByWords() {
        // Words 发动机 水温 高 | 发动机 水温 低: 2 of 3, 1 of 2 pairs. One word of three characters is not three.
        Map<Metric, Double> scores = scorer.add("发动机水温高", "发动机水温低");
        assertEquals(2.0 / 3, scores.get(Metric.ROUGE_1), 1e-12);
        assertEquals(1.0 / 2, scores.get(Metric.ROUGE_2), 1e-12);
        assertEquals(2.0 / 3, scores.get(Metric.ROUGE_L), 1e-12);
        // Characters: 5/6, 4/5, 3/4, 2/3.
        assertEquals(Math.pow(1.0 / 3, 0.25), scores.get(Metric.BLEU_4), 1e-12);
    }

    @Test
    void randomTextsScoreWithinBoundsAndOneWithThemselves() {
        long seed = Long.getLong("shardloom.seed", System.nanoTime());
        Random random = new Random(seed);
        for (int i = 0; i < 300; i++) {
            String a = text(random), b = text(random);
            String what = "'" + a + "', '" + b + "', seed " + seed;
            Map<Metric, Double> forth = new Scorer().add(a, b), back = new Scorer().add(b, a);
            forth.forEach((metric, score) -> {
                assertTrue(score >= 0 && score <= 1, metric + " " + score + " of " + what);
                if (metric != Metric.BLEU_4) {
                    assertEquals(score, back.get(metric), 1e-12, "order matters to " + metric + " of " + what);
                }
            });
            assertTrue(forth.get(Metric.ROUGE_L) <= forth.get(Metric.ROUGE_1) + 1e-12, what);
            new Scorer().add(a, a).forEach((metric, score) -> assertEquals(1, score, metric + " of " + what));
        }
    }

    /** At least four words, all of them lines of their own or none. */
    private static String text(Random random) {
        List<String> words = random.nextBoolean() ? List.of("a", "b", "cat", "dog") : List.of("水温", "发动机", "高", "不亮");
        String between = random.nextBoolean() ? " " : "\n";
        return random.ints(4 + random.nextInt(8), 0, words.size())
                .mapToObj(words::get)
                .collect(Collectors.joining(between));
    }

    @Test
    void impossibleCountsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> new Scores(1, 2, 0, Map.of()));
        assertThrows(IllegalArgumentException.class, () -> new Scores(1, 0, 0, Map.of()));
        assertThrows(IllegalArgumentException.class, () -> new Scores(0, 0, 0, Map.of(Metric.BLEU_4, 0.5)));
    }
}
