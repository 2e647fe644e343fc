package org.shardloom.worker.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.lines;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** ChatGLM-6B's tokenizer against the original's ids and texts. */
class Glm1TokenizerTest {
    private static final int[] SUFFIX = {130001, 130004};

    @TempDir
    Path temp;

    private static Tokenizer open() {
        return Tokenizers.open(shared("fixtures/tokenizers/chatglm1"), Family.GLM1);
    }

    private static int[] withSuffix(int[] ids) {
        return IntStream.concat(Arrays.stream(ids), Arrays.stream(SUFFIX)).toArray();
    }

    @Test
    void encodesAndDecodesEveryReferenceCase() {
        List<JsonNode> cases = lines(shared("fixtures/tokenizers/chatglm1/cases.jsonl"));
        assertEquals(528, cases.size());
        int typed = 0;
        try (Tokenizer tokenizer = open()) {
            for (JsonNode c : cases) {
                String text = c.get("text").asText();
                String what = "case " + c.get("id");
                int[] ids = ints(c.get("ids"));
                // The reference recognises special tokens in any text; SentencePiece alone does not, nor does encode.
                assertArrayEquals(ids, tokenizer.encodeWithSpecials(text), what);
                assertArrayEquals(c.has("raw_ids") ? ints(c.get("raw_ids")) : ids, tokenizer.encode(text), what);
                typed += c.has("raw_ids") ? 1 : 0;
                String decoded = c.get("decoded").asText();
                assertEquals(decoded, tokenizer.decode(ids), what);
                assertArrayEquals(ints(c.get("ids_with_special")), withSuffix(ids), what);
                assertEquals(decoded, tokenizer.decode(withSuffix(ids)), what);
            }
        }
        assertEquals(12, typed);
    }

    @Test
    void specialIdsAreThoseOfTheReference() {
        JsonNode expected = json(shared("fixtures/tokenizers/special_ids.json")).get("chatglm1");
        try (Tokenizer tokenizer = open()) {
            expected.get("ids")
                    .fields()
                    .forEachRemaining(e -> assertEquals(
                            OptionalInt.of(e.getValue().intValue()), tokenizer.specialId(e.getKey()), e.getKey()));
            assertEquals(expected.get("tokenizer_vocab_size").intValue(), tokenizer.vocabularySize());
            assertEquals(expected.get("pad_token_id").intValue(), tokenizer.padId());
            assertEquals(expected.get("eos_token_id").intValue(), tokenizer.eosId());
            assertEquals(OptionalInt.of(expected.get("bos_token_id").intValue()), tokenizer.bosId());
            assertEquals(OptionalInt.empty(), tokenizer.specialId("hello"));
            assertEquals(Family.GLM1, tokenizer.family());
            assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {130344}));
        }
    }

    @Test
    void batchReferenceIsTextAndSuffix() {
        JsonNode batch = json(shared("fixtures/tokenizers/chatglm1/batch.json"));
        try (Tokenizer tokenizer = open()) {
            for (int i = 0; i < batch.get("texts").size(); i++) {
                int[] real = Arrays.stream(ints(batch.get("input_ids").get(i)))
                        .filter(id -> id != tokenizer.padId())
                        .toArray();
                assertArrayEquals(
                        real,
                        withSuffix(tokenizer.encode(batch.get("texts").get(i).asText())));
            }
        }
    }

    @Test
    void whiteSpaceIsKeptInRunsOfUpTo80Blanks() {
        assertEquals("a b<|blank_2|>c<|blank_80|> d", WhiteSpaceMarks.set("a b  c" + " ".repeat(81) + "d"));
        assertEquals("<|blank_80|><|blank_80|><|blank_10|>", WhiteSpaceMarks.set(" ".repeat(170)));
        assertEquals("<n><|tab|><|blank_3|><n>", WhiteSpaceMarks.set("\n\t   \n"));
        assertEquals(
                "<|blank_1|><|blank_81|><|blank_08|>", WhiteSpaceMarks.resolve("<|blank_1|><|blank_81|><|blank_08|>"));
        try (Tokenizer tokenizer = open()) {
            for (int n = 2; n <= 200; n++) {
                String text = "x" + " ".repeat(n) + "y\n\tz";
                assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
            }
        }
    }

    @Test
    void imageTokensShiftEveryId() throws Exception {
        Files.copy(shared("fixtures/tokenizers/chatglm1/ice_text.model"), temp.resolve("ice_text.model"));
        for (String config : List.of("{}", "{\"num_image_tokens\": 20000}")) {
            Files.writeString(temp.resolve("tokenizer_config.json"), config);
            try (Tokenizer plain = open();
                    Tokenizer shifted = Tokenizers.open(temp, Family.GLM1)) {
                String text = "今天 weather\n  [MASK]";
                assertArrayEquals(
                        Arrays.stream(plain.encodeWithSpecials(text))
                                .map(id -> id + 20_000)
                                .toArray(),
                        shifted.encodeWithSpecials(text));
                assertEquals(plain.decode(plain.encode(text)), shifted.decode(shifted.encode(text)));
                assertEquals(OptionalInt.of(150_001), shifted.specialId("[gMASK]"));
                assertEquals(OptionalInt.of(150_004), shifted.bosId());
                assertEquals(150_005, shifted.eosId());
                assertEquals(20_003, shifted.padId());
                assertEquals(150_344, shifted.vocabularySize());
                assertEquals(
                        "<image_7>a",
                        shifted.decode(new int[] {7, 20_003, 20_104}).replace(" ", ""));
                assertNotEquals(plain.fingerprint(), shifted.fingerprint());
            }
        }
    }

    @Test
    void missingConfigurationAndForeignModelsAreRefused() throws Exception {
        assertTrue(refusal(temp).contains("no ice_text.model in"));
        Path model = Files.copy(shared("fixtures/tokenizers/chatglm3/tokenizer.model"), temp.resolve("ice_text.model"));
        assertTrue(refusal(temp).contains("needs the model's tokenizer_config.json beside it"));
        Path config = Files.writeString(temp.resolve("tokenizer_config.json"), "{\"num_image_tokens\": -1}");
        assertTrue(refusal(model).contains("num_image_tokens is -1"), refusal(model));
        Files.writeString(config, "{\"num_image_tokens\": 0}");
        assertTrue(refusal(model).contains("is not ChatGLM-6B's"), refusal(model));
    }

    private static String refusal(Path location) {
        return assertThrows(TokenizerException.class, () -> Tokenizers.open(location, Family.GLM1))
                .getMessage();
    }
}
