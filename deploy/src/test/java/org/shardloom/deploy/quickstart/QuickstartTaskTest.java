package org.shardloom.deploy.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.shardloom.deploy.quickstart.QuickstartTask.Sample;

class QuickstartTaskTest {

    private final QuickstartTask task = QuickstartTask.create(7);

    @Test
    void numbersAreNamedWithoutHyphensAndWithoutAnd() {
        assertEquals("zero", QuickstartTask.words(0));
        assertEquals("ten", QuickstartTask.words(10));
        assertEquals("nineteen", QuickstartTask.words(19));
        assertEquals("twenty", QuickstartTask.words(20));
        assertEquals("one hundred", QuickstartTask.words(100));
        assertEquals("three hundred five", QuickstartTask.words(305));
        assertEquals("two thousand", QuickstartTask.words(2000));
        assertEquals("four thousand seventy one", QuickstartTask.words(4071));
        assertEquals("nine thousand nine hundred ninety nine", QuickstartTask.words(9999));
        assertThrows(IllegalArgumentException.class, () -> QuickstartTask.words(-1));
        assertThrows(IllegalArgumentException.class, () -> QuickstartTask.words(10_000));
    }

    @Test
    void everyNumberHasANameOfItsOwnMadeOfTheVocabulary() {
        Set<String> names = new HashSet<>();
        Set<String> vocabulary = Set.copyOf(QuickstartTask.vocabulary());
        for (int number = 0; number < QuickstartTask.NUMBERS; number++) {
            String name = QuickstartTask.words(number);
            assertTrue(names.add(name), name);
            assertTrue(vocabulary.containsAll(List.of(name.split(" "))), name);
        }
    }

    @Test
    void equalSeedsGiveEqualSamplesAndOthersDiffer() {
        QuickstartTask again = QuickstartTask.create(7);
        assertEquals(task.train(), again.train());
        assertEquals(task.heldOut(), again.heldOut());
        QuickstartTask other = QuickstartTask.create(8);
        assertNotEquals(task.train(), other.train());
        assertNotEquals(task.heldOut(), other.heldOut());
    }

    @Test
    void heldOutNumbersNeverOccurInTrainingEitherWay() {
        Set<String> trained =
                task.train().stream().map(QuickstartTaskTest::digits).collect(Collectors.toSet());
        Set<String> heldOut =
                task.heldOut().stream().map(QuickstartTaskTest::digits).collect(Collectors.toSet());
        assertEquals(19_600, task.train().size());
        assertEquals(9_800, trained.size());
        assertEquals(200, task.heldOut().size());
        assertEquals(200, heldOut.size());
        assertEquals(
                100,
                task.heldOut().stream().filter(QuickstartTaskTest::asksForWords).count());
        heldOut.retainAll(trained);
        assertEquals(Set.of(), heldOut);
    }

    @Test
    void everyAnswerIsRight() {
        for (Sample sample : task.train()) {
            String words = asksForWords(sample) ? sample.output() : sample.input();
            assertEquals(QuickstartTask.words(Integer.parseInt(digits(sample))), words);
        }
    }

    @Test
    void aSampleIsOneLineOfJson() {
        assertEquals(
                "{\"instruction\": \"a\\\"b\", \"input\": \"c\\\\d\", \"output\": \"e\\u000af\"}",
                new Sample("a\"b", "c\\d", "e\nf").toJson());
    }

    private static boolean asksForWords(Sample sample) {
        return sample.instruction().endsWith("words");
    }

    private static String digits(Sample sample) {
        return asksForWords(sample) ? sample.input() : sample.output();
    }
}
