package org.shardloom.worker.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HuggingFaceTokenizerTest {
    /** A word-level tokenizer of five words, with one special token outside the model's vocabulary (id 6). */
    private static final String TOKENIZER =
            """
            {"version":"1.0","truncation":{"direction":"Right","max_length":3,"strategy":"LongestFirst","stride":0},
             "padding":null,"added_tokens":[
              {"id":0,"content":"<unk>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
              {"id":1,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
              {"id":6,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
              {"id":7,"content":"extra","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}],
             "normalizer":null,"pre_tokenizer":{"type":"WhitespaceSplit"},
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
               "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
               "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
             "decoder":null,
             "model":{"type":"WordLevel","vocab":{"<unk>":0,"<s>":1,"one":2,"two":3,"three":4,"四":5},"unk_token":"<unk>"}}
            """;

    @TempDir
    Path temp;

    @BeforeEach
    void write() throws Exception {
        Files.writeString(temp.resolve("tokenizer.json"), TOKENIZER);
        Files.writeString(
                temp.resolve("tokenizer_config.json"),
                "{\"eos_token\":{\"content\":\"<|end|>\"},\"bos_token\":\"<s>\",\"pad_token\":null}");
    }

    @Test
    void encodesWithoutAddingOrRecognisingSpecialTokens() {
        try (Tokenizer tokenizer = Tokenizers.open(temp, Family.PLAIN)) {
            assertArrayEquals(new int[] {2, 3, 4, 5, 2, 2}, tokenizer.encode("one two three 四 one one"));
            assertArrayEquals(new int[] {2, 0, 0, 3, 0}, tokenizer.encode("one <s> <|end|> two <unk>"));
            assertArrayEquals(new int[] {2, 7, 0}, tokenizer.encode("one extra \uD83D"));
            assertArrayEquals(new int[0], tokenizer.encode(""));
        }
    }

    @Test
    void recognisesSpecialTokensOnlyWhenAsked() {
        try (Tokenizer tokenizer = Tokenizers.open(temp, Family.PLAIN)) {
            assertArrayEquals(new int[] {1, 2, 6, 7}, tokenizer.encodeWithSpecials("<s>one<|end|>extra"));
        }
    }

    /** A unigram vocabulary is a list, and the model itself could choose a special token's piece for typed text. */
    @Test
    void specialPiecesOfAUnigramModelCannotBeTyped() throws Exception {
        Files.writeString(
                temp.resolve("tokenizer.json"),
                """
                {"version":"1.0","added_tokens":[
                  {"id":1,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
                 "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["<|end|>",0.0],["a",-1.0],["<",-9.0],
                   ["|",-9.0],["e",-9.0],["n",-9.0],["d",-9.0],[">",-9.0]]}}
                """);
        try (Tokenizer tokenizer = Tokenizers.open(temp, Family.PLAIN)) {
            assertArrayEquals(new int[] {2, 3, 4, 5, 6, 7, 4, 8}, tokenizer.encode("a<|end|>"));
            assertArrayEquals(new int[] {2, 1}, tokenizer.encodeWithSpecials("a<|end|>"));
            assertEquals(9, tokenizer.vocabularySize());
        }
    }

    @Test
    void decodesWithoutSpecialTokens() {
        try (Tokenizer tokenizer = Tokenizers.open(temp, Family.PLAIN)) {
            assertEquals("two 四", tokenizer.decode(new int[] {1, 3, 5, 6}));
            assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {8}));
        }
    }

    @Test
    void knowsItsSpecialIds() {
        try (Tokenizer tokenizer = Tokenizers.open(temp.resolve("tokenizer.json"), Family.PLAIN)) {
            assertEquals(8, tokenizer.vocabularySize());
            assertEquals(6, tokenizer.eosId());
            assertEquals(6, tokenizer.padId());
            assertEquals(OptionalInt.of(1), tokenizer.bosId());
            assertEquals(OptionalInt.of(6), tokenizer.specialId("<|end|>"));
        }
    }

    @Test
    void missingEndOfTextAndForeignJsonAreRefused() throws Exception {
        Files.delete(temp.resolve("tokenizer_config.json"));
        String message = assertThrows(TokenizerException.class, () -> Tokenizers.open(temp, Family.PLAIN))
                .getMessage();
        assertTrue(message.contains("eos_token"), message);
        Files.writeString(temp.resolve("tokenizer.json"), "{\"a\":1}");
        message = assertThrows(TokenizerException.class, () -> Tokenizers.open(temp, Family.PLAIN))
                .getMessage();
        assertTrue(message.contains("model.vocab"), message);
        Files.writeString(temp.resolve("tokenizer.json"), "{\"a\":");
        message = assertThrows(TokenizerException.class, () -> Tokenizers.open(temp, Family.PLAIN))
                .getMessage();
        assertTrue(message.contains("not valid JSON"), message);
    }
}
