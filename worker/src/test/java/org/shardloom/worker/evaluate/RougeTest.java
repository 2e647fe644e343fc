package org.shardloom.worker.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class RougeTest {
    /** The sentences of Lin (2004), section 3.1: the first is the reference. */
    private static final List<String> KILLED = words("police killed the gunman"),
            KILL = words("police kill the gunman"),
            REVERSED = words("the gunman kill police"),
            SWAPPED = words("the gunman police killed");

    private static List<String> words(String text) {
        return List.of(text.split(" "));
    }

    private static void check(double precision, double recall, Overlap found) {
        assertEquals(precision, found.precision(), 1e-15);
        assertEquals(recall, found.recall(), 1e-15);
        double f1 = precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
        assertEquals(f1, found.f1(), 1e-15);
    }

    @Test
    void theSentencesOfThePaperScoreAsThere() {
        // ROUGE-L: "police the gunman" is 3 of 4, "the gunman" 2 of 4 in both others.
        check(0.75, 0.75, Rouge.l(KILL, KILLED));
        check(0.5, 0.5, Rouge.l(REVERSED, KILLED));
        check(0.5, 0.5, Rouge.l(SWAPPED, KILLED));
        // ROUGE-2 cannot tell the first two apart, each has only "the gunman" of 3 pairs; the third has "police killed"
        // too.
        check(1.0 / 3, 1.0 / 3, Rouge.n(KILL, KILLED, 2));
        check(1.0 / 3, 1.0 / 3, Rouge.n(REVERSED, KILLED, 2));
        check(2.0 / 3, 2.0 / 3, Rouge.n(SWAPPED, KILLED, 2));
        // ROUGE-1: "kill" alone is missing.
        check(0.75, 0.75, Rouge.n(KILL, KILLED, 1));
        check(1, 1, Rouge.n(SWAPPED, KILLED, 1));
    }

    @Test
    void repeatedWordsCountAsOftenAsTheReferenceHasThem() {
        List<String> answer = words("the the the the the the the"), reference = words("the cat is on the mat");
        // "the" is twice in the reference: 2 of 7 and 2 of 6; no pair "the the" there; the longest common subsequence
        // is "the the".
        check(2.0 / 7, 2.0 / 6, Rouge.n(answer, reference, 1));
        check(0, 0, Rouge.n(answer, reference, 2));
        check(2.0 / 7, 2.0 / 6, Rouge.l(answer, reference));
    }

    @Test
    void answersOfAnotherLengthHaveUnequalPrecisionAndRecall() {
        List<String> reference = words("a b c d e f");
        // "b d" keeps its order: 2 of 2 and 2 of 6; "b d" is no pair of the reference.
        check(1, 2.0 / 6, Rouge.l(words("b d"), reference));
        check(1, 2.0 / 6, Rouge.n(words("b d"), reference, 1));
        check(0, 0, Rouge.n(words("b d"), reference, 2));
        // Against its order only one of the two counts.
        check(0.5, 1.0 / 6, Rouge.l(words("d b"), reference));
        // Around other words: a x b y c has a b c, 3 of 5 and 3 of 6.
        check(3.0 / 5, 3.0 / 6, Rouge.l(words("a x b y c"), reference));
    }

    @Test
    void nothingHasNothingInCommon() {
        for (int n = 1; n < 4; n++) {
            check(0, 0, Rouge.n(List.of(), KILLED, n));
            check(0, 0, Rouge.n(KILLED, List.of(), n));
            check(0, 0, Rouge.n(List.of(), List.of(), n));
        }
        check(0, 0, Rouge.l(List.of(), KILLED));
        check(0, 0, Rouge.l(KILLED, List.of()));
        check(0, 0, Rouge.l(List.of(), List.of()));
        // One word has no pairs.
        check(0, 0, Rouge.n(words("cat"), words("cat"), 2));
    }

    @Test
    void anOrderBelowOneIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Rouge.n(KILL, KILLED, 0));
    }
}
