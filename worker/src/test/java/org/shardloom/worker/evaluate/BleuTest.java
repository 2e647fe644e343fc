package org.shardloom.worker.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

/** Precisions p1 to p4 are counted in the comments; the decimal values were found with NLTK's method3 too. */
class BleuTest {
    private static List<String> words(String text) {
        return List.of(text.split(" "));
    }

    private static double sentence(String answer, String reference) {
        return Bleu.sentence(words(answer), words(reference));
    }

    private static double fourthRoot(double product) {
        return Math.sqrt(Math.sqrt(product));
    }

    @Test
    void matchesAreClipped() {
        // Papineni et al. (2002), section 2.1: p1 = 2/7. No longer match: 1/2 of 6, 1/4 of 5, 1/8 of 4. No penalty: 7
        // words for 6.
        double expected = fourthRoot(2.0 / 7 / 12 / 20 / 32);
        assertEquals(0.0780984984, expected, 1e-9);
        assertEquals(expected, sentence("the the the the the the the", "the cat is on the mat"), 1e-12);
    }

    @Test
    void aPrecisionOfZeroIsSmoothed() {
        // 5/6; "the cat", "on the", "the mat" 3/5; "on the mat" 1/4; none of 3: 1/6. The product is 1/48.
        assertEquals(fourthRoot(1.0 / 48), sentence("the cat sat on the mat", "the cat is on the mat"), 1e-12);
        // 2/2, "cat dog" 1/1; of no 3-gram as of one: 1/2; of no 4-gram: 1/4.
        assertEquals(fourthRoot(1.0 / 8), sentence("cat dog", "cat dog"), 1e-12);
        // 2/2, 0 of 1: 1/2; then 1/4, 1/8.
        assertEquals(fourthRoot(1.0 / 64), sentence("cat dog", "dog cat"), 1e-12);
        assertEquals(fourthRoot(1.0 / 64), sentence("cat", "cat"), 1e-12);
        // 3/4; "the gunman" 1/3; none of 2: 1/4; none of 1: 1/4.
        assertEquals(
                fourthRoot(3.0 / 4 / 3 / 4 / 4), sentence("police kill the gunman", "police killed the gunman"), 1e-12);
    }

    @Test
    void shortAnswersPayThePenalty() {
        // 2/2, 1/1, then 1/2 and 1/4, as above, times e^(1 - 4/2).
        double expected = Math.exp(-1) * fourthRoot(1.0 / 8);
        assertEquals(0.2187424245, expected, 1e-9);
        assertEquals(expected, sentence("the gunman", "police killed the gunman"), 1e-12);
    }

    @Test
    void nothingInCommonIsZero() {
        assertEquals(0, sentence("x y", "a b"));
        assertEquals(0, Bleu.sentence(List.of(), words("a b")));
        assertEquals(0, Bleu.sentence(words("a b"), List.of()));
        assertEquals(0, Bleu.sentence(List.of(), List.of()));
    }

    @Test
    void charactersOfChineseTextCount() {
        // The first four of six characters are equal: 4/6, 3/5, 2/4, 1/3.
        double expected = fourthRoot(4.0 / 6 * 3 / 5 * 2 / 4 * 1 / 3);
        assertEquals(0.5081327482, expected, 1e-9);
        assertEquals(
                expected,
                Bleu.sentence(Segmentation.CHINESE.bleuUnits("今天天气很好"), Segmentation.CHINESE.bleuUnits("今天天气不错\n")),
                1e-12);
    }

    @Test
    void theCorpusSumsBeforeItDivides() {
        Bleu bleu = new Bleu();
        assertEquals(0, bleu.corpus());
        bleu.add(words("a b c d e"), words("a b c d e"));
        assertEquals(1, bleu.corpus());
        bleu.add(words("a b"), words("c d e"));
        // p1 = (5 + 0) / (5 + 2), p2 = 4 / (4 + 1), p3 = 3/3, p4 = 2/2; 7 words for 8.
        assertEquals(Math.exp(1 - 8.0 / 7) * fourthRoot(4.0 / 7), bleu.corpus(), 1e-12);
        bleu.add(List.of(), words("a b"));
        assertEquals(Math.exp(1 - 10.0 / 7) * fourthRoot(4.0 / 7), bleu.corpus(), 1e-12);
    }

    @Test
    void theCorpusOfNltksDocumentation() {
        // Its hypotheses with one reference each: 22/29, 17/27, 12/25, 8/23; 29 words for 27.
        double expected = fourthRoot(22.0 / 29 * 17 / 27 * 12 / 25 * 8 / 23);
        assertEquals(0.5314082679, expected, 1e-9);
        Bleu bleu = new Bleu();
        bleu.add(
                words("It is a guide to action which ensures that the military always obeys the commands of the party"),
                words("It is a guide to action that ensures that the military will forever heed Party commands"));
        bleu.add(
                words("he read the book because he was interested in world history"),
                words("he was interested in world history because he read the book"));
        assertEquals(expected, bleu.corpus(), 1e-12);
    }

    @Test
    void aCorpusWithoutACommonFourGramIsZero() {
        Bleu bleu = new Bleu();
        bleu.add(words("a b c"), words("a b c"));
        bleu.add(words("a b c x"), words("a b c d"));
        assertEquals(0, bleu.corpus());
    }
}
