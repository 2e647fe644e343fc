package org.shardloom.deploy.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QuickstartFilesTest {

    private static final List<String> NAMES = List.of(
            "data/heldout.jsonl",
            "data/train.jsonl",
            "job.yaml",
            "model/config.json",
            "model/tokenizer.model",
            "model/tokenizer_config.json");

    @TempDir
    private Path dir;

    @Test
    void everyFileIsWrittenAndNothingElse() throws IOException {
        QuickstartFiles files = QuickstartFiles.create(dir.resolve("new"), 1);
        assertEquals(NAMES, names(dir.resolve("new")));
        assertTrue(files.job().isAbsolute());
        assertEquals(19_600, Files.readAllLines(files.train()).size());
        assertEquals(200, Files.readAllLines(files.heldOut()).size());
        assertFalse(Files.exists(files.output()));
    }

    @Test
    void aSecondCallTouchesNothingAndRepairsWhatIsBroken() throws IOException {
        QuickstartFiles files = QuickstartFiles.create(dir, 1);
        byte[] train = Files.readAllBytes(files.train());
        FileTime longAgo = FileTime.fromMillis(1_000_000);
        for (String name : NAMES) {
            Files.setLastModifiedTime(dir.resolve(name), longAgo);
        }
        Files.writeString(files.train(), "broken");
        Files.delete(files.model().resolve("config.json"));

        assertEquals(files, QuickstartFiles.create(dir, 1));

        assertArrayEquals(train, Files.readAllBytes(files.train()));
        assertEquals(NAMES, names(dir));
        assertEquals(longAgo, Files.getLastModifiedTime(files.job()));
        assertEquals(longAgo, Files.getLastModifiedTime(files.heldOut()));
    }

    @Test
    void equalSeedsGiveEqualFilesAnywhere() throws IOException {
        QuickstartFiles one = QuickstartFiles.create(dir.resolve("one"), 5);
        QuickstartFiles two = QuickstartFiles.create(dir.resolve("two"), 5);
        for (String name : NAMES) {
            if (!name.equals("job.yaml")) {
                assertEquals(
                        -1,
                        Files.mismatch(
                                dir.resolve("one").resolve(name),
                                dir.resolve("two").resolve(name)));
            }
        }
        assertEquals(
                Files.readString(one.job()).replace(dir + "/one", ""),
                Files.readString(two.job()).replace(dir + "/two", ""));
    }

    @Test
    void theJobNamesItsFilesEvenInAwkwardDirectories() throws IOException {
        QuickstartFiles files = QuickstartFiles.create(dir.resolve("it's \"here\": #1 %d"), 42);
        String job = Files.readString(files.job());
        String root = dir.toAbsolutePath() + "/it's \\\"here\\\": #1 %d";
        assertTrue(job.contains("\n  path: \"" + root + "/model\"\n"), job);
        assertTrue(job.contains("\n    - \"" + root + "/data/train.jsonl\"\n"), job);
        assertTrue(job.contains("\noutput_dir: \"" + root + "/output\"\n"), job);
        assertTrue(job.contains("\n  seed: 42\n"), job);
    }

    @Test
    void theModelHasFiveMillionParametersAndRoomForTheSpecialTokens() throws IOException {
        QuickstartFiles files = QuickstartFiles.create(dir, 1);
        int pieces =
                SentencePieceModelWriter.create(QuickstartTask.vocabulary()).size();
        QuickstartModel model = QuickstartModel.forVocabulary(pieces);
        assertEquals(0, model.paddedVocabSize() % 64);
        assertTrue(model.paddedVocabSize() >= pieces + QuickstartModel.SPECIAL_TOKENS);
        assertTrue(model.paddedVocabSize() < pieces + QuickstartModel.SPECIAL_TOKENS + 64);
        // Two tables of 448 x 256; six layers of 812,032: norms 512, query/key/value 131,584, output projection 65,536,
        // feed-forward 614,400; a last norm of 256.
        assertEquals(2 * 448 * 256 + 6 * 812_032 + 256, model.parameterCount());
        assertEquals(5_101_824, model.parameterCount());
        String config = Files.readString(files.model().resolve("config.json"));
        assertEquals(model.toConfigJson(), config);
        assertTrue(config.contains("\"padded_vocab_size\": 448,"), config);
        assertTrue(config.contains("\"ffn_hidden_size\": 800,"), config);
        assertTrue(config.contains("\"multi_query_group_num\": 2,"), config);
    }

    @Test
    void parametersOfChatGlm3AreCountedRight() {
        assertEquals(6_243_584_000L, new QuickstartModel(4096, 28, 32, 128, 2, 13696, 8192, 65024).parameterCount());
    }

    private static List<String> names(Path root) throws IOException {
        try (Stream<Path> paths = Files.walk(root)) {
            return paths.filter(Files::isRegularFile)
                    .map(path -> root.relativize(path).toString())
                    .sorted()
                    .toList();
        }
    }
}
