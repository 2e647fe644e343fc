package org.shardloom.worker.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class AnswersTest {

    @Test
    void onlyWhiteSpaceMayDiffer() {
        assertTrue(Answers.equal(" two\u3000 words\r\n", "two words"));
        assertFalse(Answers.equal("twowords", "two words"));
        assertFalse(Answers.equal("Two words", "two words"));
        assertTrue(Answers.equal("", "\n"));
    }

    @Test
    void emptyIsNothingButWhiteSpace() {
        assertTrue(Answers.isEmpty(""));
        assertTrue(Answers.isEmpty(" \n\t\u3000"));
        assertFalse(Answers.isEmpty("."));
    }

    @Test
    void linesAreASet() {
        // Two of the answer's three different lines are among the reference's four: P 2/3, R 2/4, F1 4/7.
        Overlap found = Answers.lines(
                "风扇_部件故障_低速转动\n\n发动机_部件故障_水温高\r\n 发动机_部件故障_水温高 \n开关_部件故障_不亮",
                "发动机_部件故障_水温高\n风扇_部件故障_低速转动\n室内灯_部件故障_不亮\n水泵_部件故障_漏水\n");
        assertEquals(2.0 / 3, found.precision(), 1e-15);
        assertEquals(2.0 / 4, found.recall(), 1e-15);
        assertEquals(4.0 / 7, found.f1(), 1e-15);
    }

    @Test
    void noLinesHaveNothingInCommon() {
        assertEquals(new Overlap(0, 0, 0), Answers.lines("", "a"));
        assertEquals(new Overlap(0, 0, 0), Answers.lines("a", "\n \n"));
        assertEquals(new Overlap(0, 0, 0), Answers.lines("a", "b"));
        assertEquals(new Overlap(1, 1, 1), Answers.lines("a\nb", "b\na"));
    }
}
