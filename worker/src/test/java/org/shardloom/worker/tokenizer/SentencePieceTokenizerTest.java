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
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SentencePieceTokenizerTest {
    @TempDir
    Path temp;

    private static int[] join(int[] a, int[] b) {
        return IntStream.concat(Arrays.stream(a), Arrays.stream(b)).toArray();
    }

    private static void checkCases(String name, Family family) {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/" + name), family)) {
            int[] prefix = {
                tokenizer.specialId("[gMASK]").getAsInt(),
                tokenizer.specialId("sop").getAsInt()
            };
            List<JsonNode> cases = lines(shared("fixtures/tokenizers/" + name + "/cases.jsonl"));
            assertEquals(528, cases.size());
            for (JsonNode c : cases) {
                String text = c.get("text").asText();
                String what = name + " case " + c.get("id");
                int[] ids = ints(c.get("ids"));
                int[] withPrefix = ints(c.get("ids_with_special"));
                assertArrayEquals(ids, tokenizer.encode(text), what);
                assertArrayEquals(withPrefix, join(prefix, ids), what);
                JsonNode typed = c.path("ids_encode_special_tokens");
                assertArrayEquals(typed.isMissingNode() ? ids : ints(typed), tokenizer.encodeWithSpecials(text), what);
                assertEquals(c.get("decoded").asText(), tokenizer.decode(ids), what);
                String shown =
                        c.path("decoded_with_special").asText(c.get("decoded").asText());
                assertEquals(shown, tokenizer.decode(withPrefix), what);
            }
        }
    }

    @Test
    void chatGlm2EncodesAndDecodesEveryReferenceCase() {
        checkCases("chatglm2", Family.GLM2);
    }

    @Test
    void chatGlm3EncodesAndDecodesEveryReferenceCase() {
        checkCases("chatglm3", Family.GLM3);
    }

    @Test
    void plainModelEncodesAndDecodesEveryReferenceCase() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/stories260k/tokenizer.model"), Family.PLAIN)) {
            List<JsonNode> cases = lines(shared("fixtures/stories260k/tokenizer_cases.jsonl"));
            assertEquals(9, cases.size());
            for (JsonNode c : cases) {
                assertArrayEquals(
                        ints(c.get("ids")), tokenizer.encode(c.get("text").asText()));
                assertEquals(c.get("decoded").asText(), tokenizer.decode(ints(c.get("ids"))));
            }
            assertEquals(512, tokenizer.vocabularySize());
            assertEquals(OptionalInt.of(1), tokenizer.bosId());
            assertEquals(2, tokenizer.eosId());
            assertArrayEquals(new int[] {2}, tokenizer.encodeWithSpecials("</s>"));
            assertTrue(Arrays.stream(tokenizer.encode("<s>a</s>")).noneMatch(id -> id == 1 || id == 2));
        }
    }

    @Test
    void specialIdsAreThoseOfTheReference() {
        JsonNode all = json(shared("fixtures/tokenizers/special_ids.json"));
        for (Family family : List.of(Family.GLM2, Family.GLM3)) {
            String name = family == Family.GLM2 ? "chatglm2" : "chatglm3";
            try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/" + name), family)) {
                JsonNode expected = all.get(name);
                expected.get("ids")
                        .fields()
                        .forEachRemaining(e -> assertEquals(
                                OptionalInt.of(e.getValue().intValue()), tokenizer.specialId(e.getKey()), e.getKey()));
                assertEquals(expected.get("tokenizer_vocab_size").intValue(), tokenizer.vocabularySize());
                assertEquals(expected.get("pad_token_id").intValue(), tokenizer.padId());
                assertEquals(expected.get("eos_token_id").intValue(), tokenizer.eosId());
                assertEquals(OptionalInt.empty(), tokenizer.specialId("hello"));
            }
        }
    }

    @Test
    void batchReferenceIsPrefixAndText() {
        for (Family family : List.of(Family.GLM2, Family.GLM3)) {
            String name = family == Family.GLM2 ? "chatglm2" : "chatglm3";
            try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/" + name), family)) {
                JsonNode batch = json(shared("fixtures/tokenizers/" + name + "/batch.json"));
                int[] prefix = {64790, 64792};
                for (int i = 0; i < batch.get("texts").size(); i++) {
                    int[] row = ints(batch.get("input_ids").get(i));
                    int[] mask = ints(batch.get("attention_mask").get(i));
                    int[] real = IntStream.range(0, row.length)
                            .filter(k -> mask[k] == 1)
                            .map(k -> row[k])
                            .toArray();
                    assertArrayEquals(
                            real,
                            join(
                                    prefix,
                                    tokenizer.encode(batch.get("texts").get(i).asText())));
                }
            }
        }
    }

    @Test
    void unpairedSurrogatesCountAsReplacementCharacters() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3)) {
            assertArrayEquals(tokenizer.encode("a\uFFFDb\uFFFD"), tokenizer.encode("a\uD83Db\uDC4B"));
            assertEquals("\uD83D\uDC4B", tokenizer.decode(tokenizer.encode("\uD83D\uDC4B")));
        }
    }

    @Test
    void invalidBytesDecodeToReplacementCharacters() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3)) {
            // Byte pieces start at id 3: 0xE4 0xBD without the third byte, then an ordinary piece.
            assertEquals("\uFFFD\uFFFDa", tokenizer.decode(new int[] {3 + 0xE4, 3 + 0xBD, 3 + 'a'}));
        }
    }

    @Test
    void idsOutOfRangeAndUseAfterCloseAreRefused() {
        Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3);
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {64798}));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {-1}));
        tokenizer.close();
        tokenizer.close();
        assertThrows(IllegalStateException.class, () -> tokenizer.encode("a"));
        assertThrows(IllegalStateException.class, () -> tokenizer.decode(new int[] {5}));
    }

    @Test
    void fingerprintDependsOnFamilyAndContent() throws Exception {
        Path two = shared("fixtures/tokenizers/chatglm2/tokenizer.model");
        Path copy = temp.resolve("tokenizer.model");
        Files.copy(two, copy);
        try (Tokenizer a = Tokenizers.open(two, Family.GLM2);
                Tokenizer b = Tokenizers.open(temp, Family.GLM2);
                Tokenizer c = Tokenizers.open(temp, Family.GLM3)) {
            assertEquals(a.fingerprint(), b.fingerprint());
            assertNotEquals(b.fingerprint(), c.fingerprint());
            assertEquals(64, a.fingerprint().length());
        }
    }

    @Test
    void manyThreadsEncodeAlike() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3)) {
            int[] expected = tokenizer.encode("今天天气真好 hello");
            IntStream.range(0, 2000)
                    .parallel()
                    .forEach(i -> assertArrayEquals(expected, tokenizer.encode("今天天气真好 hello")));
        }
    }

    @Test
    void clearErrorsNameTheFileAndTheRemedy() throws Exception {
        assertMessage("does not exist", temp.resolve("nowhere"), Family.GLM3);
        assertMessage("no tokenizer.model in", temp, Family.GLM3);
        assertMessage("tokenizer.json or tokenizer.model", temp, Family.PLAIN);
        Path model = temp.resolve("tokenizer.model");
        Files.write(model, new byte[0]);
        assertMessage("is empty", temp, Family.GLM3);
        Files.writeString(model, "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
        assertMessage("git lfs pull", temp, Family.GLM3);
        Files.write(model, "not a model at all".getBytes(StandardCharsets.UTF_8));
        assertMessage("can't be read as a SentencePiece model", temp, Family.GLM3);
        Path json = temp.resolve("tokenizer.json");
        Files.writeString(json, "{}");
        assertMessage("not a JSON file", json, Family.GLM3);
    }

    @Test
    void cutOffModelIsRefused() throws Exception {
        byte[] whole = Files.readAllBytes(shared("fixtures/stories260k/tokenizer.model"));
        Files.write(temp.resolve("tokenizer.model"), Arrays.copyOf(whole, 1001));
        assertMessage("can't be read as a SentencePiece model", temp, Family.PLAIN);
    }

    private static void assertMessage(String part, Path location, Family family) {
        String message = assertThrows(TokenizerException.class, () -> Tokenizers.open(location, family))
                .getMessage();
        assertTrue(message.contains(part) && message.contains(location.toString()), message);
    }
}
