package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetBuilderTest {
    @TempDir
    Path temp;

    private static DataOptions options(DataFormat format, int maxLength, boolean truncate, int vocabulary) {
        return new DataOptions(format, maxLength, Math.max(8, maxLength / 2), truncate, vocabulary);
    }

    private Path file(String name, String... lines) throws Exception {
        return Files.writeString(temp.resolve(name), String.join("\n", lines) + "\n");
    }

    private static Dataset text(DataFormat format, Path... files) {
        return DatasetBuilder.forText(options(format, 200, true, 0), new CharacterTemplate())
                .build(List.of(files));
    }

    private static String error(DataFormat format, Path... files) {
        return assertThrows(DataException.class, () -> text(format, files)).getMessage();
    }

    @Test
    void alpacaWithSystemAndHistory() throws Exception {
        Path file = file(
                "a.jsonl",
                "{\"instruction\":\"q\",\"input\":\"i\",\"output\":\"a\",\"extra\":1}",
                "",
                "{\"instruction\":\"q\",\"input\":null,\"output\":\"a\",\"system\":\"s\",\"history\":[[\"x\",\"y\"]]}");
        Dataset dataset = text(DataFormat.ALPACA, file);
        assertEquals(2, dataset.size());
        assertEquals("Uqi|Aa|", CharacterTemplate.show(dataset.sample(0)));
        assertEquals("Ss|Ux|Ay|Uq|Aa|", CharacterTemplate.show(dataset.sample(1)));
    }

    @Test
    void shareGptAndChatGlm3() throws Exception {
        Path share = file(
                "s.jsonl",
                "{\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"human\",\"value\":\"q\"},"
                        + "{\"from\":\"gpt\",\"value\":\"a\"},{\"from\":\"human\",\"value\":\"left out\"}],\"tools\":\"\"}");
        assertEquals(
                "Ss|Uq|Aa|",
                CharacterTemplate.show(text(DataFormat.SHAREGPT, share).sample(0)));
        Path glm = file(
                "g.jsonl",
                "{\"tools\":[],\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},"
                        + "{\"role\":\"assistant\",\"content\":\"a\",\"loss\":false},"
                        + "{\"role\":\"user\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":\"b\"}]}");
        Sample sample = text(DataFormat.CHATGLM3, glm).sample(0);
        assertEquals("Uq|Aa|Ur|Ab|", CharacterTemplate.show(sample));
        assertEquals(3, sample.targetTokens());
        Path part = file(
                "p.jsonl",
                "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"aa\",\"loss\":false},"
                        + "{\"from\":\"human\",\"value\":\"r\",\"loss\":false},{\"from\":\"gpt\",\"value\":\"b\",\"loss\":true}]}");
        assertEquals(3, text(DataFormat.SHAREGPT, part).sample(0).targetTokens());
        Path wrong = file(
                "w.jsonl",
                "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\",\"loss\":0}]}",
                "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\",\"loss\":true},{\"from\":\"gpt\",\"value\":\"a\"}]}");
        String message = error(DataFormat.SHAREGPT, wrong);
        assertTrue(message.contains(":1: `conversations[1].loss` must be true or false"), message);
        assertTrue(message.contains(":2: `conversations[0].loss` is true for the role user"), message);
    }

    @Test
    void linesMayEndTheWayWindowsEndsThemAndBeginWithAByteOrderMark() throws Exception {
        Path file = temp.resolve("w.jsonl");
        Files.writeString(
                file, "\uFEFF{\"input_ids\":[1,2],\"labels\":[1,2]}\r\n{\"input_ids\":[3,4],\"labels\":[-100,4]}");
        Dataset dataset = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 8, true, 5))
                .build(List.of(file));
        assertEquals(2, dataset.size());
        assertArrayEquals(new int[] {3, 4}, dataset.sample(1).inputIds());
    }

    @Test
    void malformedLinesAreListedWithFileLineAndReason() throws Exception {
        Path bad = file(
                "bad.jsonl",
                "{\"instruction\":\"q\",\"output\":\"a\"}",
                "{\"instruction\":\"q\"}",
                "{\"instruction\":\"q\",\"output\":5}",
                "{\"instruction\":",
                "[1]",
                "{\"instruction\":\"q\",\"output\":\"a\"} x",
                "{\"instruction\":\"q\",\"output\":\"a\",\"history\":[[\"x\"]]}");
        String message = error(DataFormat.ALPACA, bad);
        assertTrue(message.startsWith("6 lines can't be used:"), message);
        assertTrue(message.contains(bad + ":2: `output` is missing"), message);
        assertTrue(message.contains(bad + ":3: `output` must be a string, not a number"), message);
        assertTrue(message.contains(bad + ":4: not valid JSON at column"), message);
        assertTrue(message.contains(bad + ":5: the line is no JSON object"), message);
        assertTrue(message.contains(bad + ":6: not valid JSON"), message);
        assertTrue(message.contains(bad + ":7: `history[0]` must be a pair"), message);
    }

    @Test
    void onlyTenProblemsAreListed() throws Exception {
        Path bad = file("bad.jsonl", Collections.nCopies(25, "{}").toArray(String[]::new));
        String message = error(DataFormat.ALPACA, bad);
        assertTrue(message.contains(":10: ") && !message.contains(":11: "), message);
        assertTrue(message.endsWith("and 15 more"), message);
    }

    @Test
    void bytesThatAreNotUtf8AreRefused() throws Exception {
        Path file = temp.resolve("latin.jsonl");
        Files.write(file, "{\"instruction\":\"\u00e9\",\"output\":\"a\"}".getBytes(StandardCharsets.ISO_8859_1));
        assertEquals(file + ":1: the line is not valid UTF-8", error(DataFormat.ALPACA, file));
    }

    @Test
    void rolesOutOfTurnAndToolCallsAreRefused() throws Exception {
        String turn = "{\"from\":\"%s\",\"value\":\"v\"}";
        String start = "{\"conversations\":[";
        Path file = file(
                "s.jsonl",
                start + turn.formatted("gpt") + "]}",
                start + turn.formatted("human") + "," + turn.formatted("human") + "," + turn.formatted("gpt") + "]}",
                start + turn.formatted("function_call") + "]}",
                start + turn.formatted("robot") + "]}",
                start + "]}",
                start + turn.formatted("human") + "]}",
                "{\"conversations\":{}}",
                "{\"conversations\":[],\"tools\":[{\"name\":\"t\"}]}");
        String message = error(DataFormat.SHAREGPT, file);
        assertTrue(message.contains(":1: message 1 of the conversation is from the assistant where"), message);
        assertTrue(message.contains(":2: message 2 of the conversation is from the user where"), message);
        assertTrue(
                message.contains(
                        ":3: `conversations[0].from` is `function_call`: training on tool calls needs data.format: chatglm3"),
                message);
        assertTrue(message.contains(":4: `conversations[0].from` is `robot`"), message);
        assertTrue(message.contains(":5: the conversation has no answer"), message);
        assertTrue(message.contains(":6: the conversation has no answer"), message);
        assertTrue(message.contains(":7: `conversations` must be an array, not an object"), message);
        assertTrue(message.contains(":8: `tools`: training on tool calls needs data.format: chatglm3"), message);
    }

    @Test
    void missingEmptyAndFolderFilesAreRefused() throws Exception {
        Path empty = file("empty.jsonl", "", "  ");
        assertEquals("data file " + empty + " is empty", error(DataFormat.ALPACA, empty));
        Path none = temp.resolve("none.jsonl");
        assertEquals("data file " + none + " does not exist", error(DataFormat.ALPACA, none));
        assertTrue(error(DataFormat.ALPACA, temp).contains("no ordinary file"));
        assertEquals("no data files are given", error(DataFormat.ALPACA));
    }

    @Test
    void pretokenizedSamplesAreCheckedAndCut() throws Exception {
        Path file = file(
                "p.jsonl",
                "{\"input_ids\":[1,2,3,4],\"labels\":[-100,-100,3,4]}",
                "{\"input_ids\":[1,2,3,4,5,6],\"labels\":[-100,2,-100,-100,5,6]}",
                "{\"input_ids\":[1,2,3,4,5,6],\"labels\":[-100,-100,-100,-100,5,6]}",
                "{\"input_ids\":[7],\"labels\":[7]}");
        Dataset cut = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 4, true, 8))
                .build(List.of(file));
        assertEquals(new DatasetSummary(2, 8, 3, 1, 0, 2, 4, 3, 2), cut.summary());
        assertTrue(cut.sample(1).truncated());
        assertEquals(
                "2 samples, 8 tokens (3 learned), longest 4, source 1.5 on average and at most 2; 1 cut to fit;"
                        + " 2 skipped with nothing to learn",
                cut.summary().describe());
        Dataset skipped = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 4, false, 8))
                .build(List.of(file));
        assertEquals(new DatasetSummary(1, 4, 2, 0, 2, 1, 4, 2, 2), skipped.summary());
        assertFalse(skipped.sample(0).truncated());
    }

    @Test
    void idsOutsideTheModelsVocabularyAreRefusedWithFileAndLine() throws Exception {
        Path file = file(
                "p.jsonl",
                "{\"input_ids\":[1,2],\"labels\":[1,2]}",
                "{\"input_ids\":[1,8],\"labels\":[1,2]}",
                "{\"input_ids\":[1,2],\"labels\":[1,-1]}",
                "{\"input_ids\":[1,2.5],\"labels\":[1,2]}",
                "{\"input_ids\":[1,2],\"labels\":[1]}",
                "{\"input_ids\":[],\"labels\":[]}");
        DatasetBuilder builder = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 4, true, 8));
        String message = assertThrows(DataException.class, () -> builder.build(List.of(file)))
                .getMessage();
        assertTrue(message.contains(file + ":2: token id 8 at position 1 is outside the model's vocabulary of 8"));
        assertTrue(message.contains(file + ":3: label -1 at position 1 is outside"), message);
        assertTrue(message.contains(file + ":4: `input_ids[1]` must be a whole number, not 2.5"), message);
        assertTrue(message.contains(file + ":5: `input_ids` has 2 numbers but `labels` 1"), message);
        assertTrue(message.contains(file + ":6: `input_ids` is empty"), message);
        Path chat = file("a.jsonl", "{\"instruction\":\"q\",\"output\":\"z\"}");
        DatasetBuilder small =
                DatasetBuilder.forText(options(DataFormat.ALPACA, 50, true, 'z'), new CharacterTemplate());
        message = assertThrows(DataException.class, () -> small.build(List.of(chat)))
                .getMessage();
        assertTrue(message.contains("is this the model's own tokenizer?"), message);
    }

    @Test
    void nothingLeftIsAnErrorThatSaysWhatToChange() throws Exception {
        Path file = file("p.jsonl", "{\"input_ids\":[1,2,3],\"labels\":[-100,-100,3]}");
        DatasetBuilder builder = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 2, false, 8));
        String message = assertThrows(DataException.class, () -> builder.build(List.of(file)))
                .getMessage();
        assertTrue(message.contains("1 are too long") && message.contains("data.max_length (2)"), message);
    }

    @Test
    void filesFollowEachOtherInTheGivenOrder() throws Exception {
        List<Path> files = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            files.add(file("f" + i, "{\"input_ids\":[" + i + ",1],\"labels\":[0,1]}"));
        }
        Dataset dataset = DatasetBuilder.forTokens(options(DataFormat.PRETOKENIZED, 4, true, 0))
                .build(List.of(files.get(2), files.get(0), files.get(1)));
        assertEquals(2, dataset.sample(0).inputIds()[0]);
        assertEquals(0, dataset.sample(1).inputIds()[0]);
        assertEquals(1, dataset.sample(2).inputIds()[0]);
    }

    @Test
    void impossibleOptionsNameTheKey() {
        String message = assertThrows(
                        IllegalArgumentException.class, () -> new DataOptions(DataFormat.ALPACA, 64, 64, true, 0))
                .getMessage();
        assertTrue(message.contains("data.max_source_length") && message.contains("data.max_length"), message);
        assertThrows(IllegalArgumentException.class, () -> new DataOptions(DataFormat.ALPACA, 1, 0, true, 0));
        assertThrows(IllegalArgumentException.class, () -> new DataOptions(DataFormat.ALPACA, 64, 4, true, 0));
        assertEquals(DataFormat.SHAREGPT, DataFormat.of("sharegpt"));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> DataFormat.of("x"))
                .getMessage()
                .contains("alpaca, sharegpt, chatglm3, pretokenized"));
    }
}
