package org.shardloom.deploy.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.sentencepiece.SpProcessor;
import ai.djl.sentencepiece.SpTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.quickstart.QuickstartTask.Sample;

/** Reads the written model with SentencePiece itself. */
class SentencePieceModelWriterTest {

    private static final SentencePieceModelWriter WRITER = SentencePieceModelWriter.create(QuickstartTask.vocabulary());

    private static SpTokenizer tokenizer;
    private static SpProcessor processor;

    @BeforeAll
    static void load(@TempDir Path dir) throws IOException {
        Path model = dir.resolve("tokenizer.model");
        Files.write(model, WRITER.toByteArray());
        tokenizer = new SpTokenizer(model);
        processor = tokenizer.getProcessor();
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    @Test
    void specialAndBytePiecesHaveTheIdsOfChatGlm3() {
        assertEquals("<unk>", processor.getToken(0));
        assertEquals("<s>", processor.getToken(1));
        assertEquals("</s>", processor.getToken(2));
        assertEquals("<0x00>", processor.getToken(3));
        assertEquals("<0x0A>", processor.getToken(13));
        assertEquals("<0xFF>", processor.getToken(258));
        assertEquals(SentencePieceModelWriter.BLANK, processor.getToken(259));
    }

    @Test
    void everyWordIsOnePieceWithAndWithoutABlank() {
        for (String word : QuickstartTask.vocabulary()) {
            assertArrayEquals(new String[] {"▁" + word}, processor.tokenize(word), word);
            assertArrayEquals(
                    new String[] {"▁", "<0x0A>", word},
                    ids("\n" + word).stream().map(processor::getToken).toArray(),
                    word);
        }
    }

    @Test
    void numbersAreCutDigitByDigit() {
        assertEquals(List.of("▁", "4", "0", "7", "1"), List.of(processor.tokenize("4071")));
        assertEquals(List.of("▁four", "▁", "1", "0", "▁thousand"), List.of(processor.tokenize("four 10 thousand")));
    }

    @Test
    void whatHasNoPieceBecomesCharactersAndBytes() {
        for (String text : List.of("Hello, world!", "  two  blanks ", "café 你好", "a\tb\n\nc", "fourteenth", "~!")) {
            int[] ids = processor.encode(text);
            assertEquals(text, processor.decode(ids));
            for (int id : ids) {
                assertTrue(id > 2 && id < WRITER.size(), text);
            }
        }
    }

    @Test
    void everyHeldOutAnswerComesBackFromItsIds() {
        for (Sample sample : QuickstartTask.create(7).heldOut()) {
            int[] ids = processor.encode(sample.output());
            assertEquals(sample.output(), processor.decode(ids));
            boolean isDigits = Character.isDigit(sample.output().charAt(0));
            int expected =
                    isDigits ? 1 + sample.output().length() : sample.output().split(" ").length;
            assertEquals(expected, ids.length, sample.output());
        }
    }

    @Test
    void samplesHaveSixteenToThirtyTwoTokens() {
        List<Sample> samples = QuickstartTask.create(7).train();
        int total = 0;
        for (Sample sample : samples) {
            // Counted as ChatGLM3 lays it out: [gMASK] sop <|user|> + "\n", instruction and input + <|assistant|> +
            // "\n", answer + </s>
            int tokens = 3
                    + ids("\n").size()
                    + ids(sample.instruction() + "\n" + sample.input()).size()
                    + 1
                    + ids("\n").size()
                    + ids(sample.output()).size()
                    + 1;
            assertTrue(tokens >= 16 && tokens <= 32, sample + " has " + tokens + " tokens");
            total += tokens;
        }
        double mean = (double) total / samples.size();
        assertTrue(mean > 22 && mean < 27, "a sample has " + mean + " tokens on average");
    }

    @Test
    void equalWordsGiveEqualBytesAndRepeatedOnesAddNothing() {
        assertArrayEquals(
                SentencePieceModelWriter.create(List.of("one", "a")).toByteArray(),
                SentencePieceModelWriter.create(List.of("one", "a", "one")).toByteArray());
        assertEquals(
                354 + 3, SentencePieceModelWriter.create(List.of("one", "a")).size());
        assertEquals(426, WRITER.size());
    }

    @Test
    void wordsWithBlanksOrDigitsAreRefused() {
        for (String word : List.of("", "two words", "▁two", "route66")) {
            assertThrows(IllegalArgumentException.class, () -> SentencePieceModelWriter.create(List.of(word)), word);
        }
    }

    private static List<Integer> ids(String text) {
        return Arrays.stream(processor.encode(text)).boxed().toList();
    }
}
