package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetCacheTest {
    private static final String LINE = "{\"instruction\":\"%s\",\"output\":\"a\"}\n";

    @TempDir
    Path temp;

    private Path data;
    private Path cache;

    @BeforeEach
    void write() throws Exception {
        cache = temp.resolve("deep/cache");
        data = Files.writeString(temp.resolve("data.jsonl"), LINE.formatted("one") + LINE.formatted("two"));
    }

    private static DataOptions options(int maxLength) {
        return new DataOptions(DataFormat.ALPACA, maxLength, 8, true, 0);
    }

    /** Builds, and returns how many conversations had to be encoded. */
    private int encodings(int maxLength, String fingerprint) {
        CharacterTemplate template = new CharacterTemplate(fingerprint);
        Dataset dataset = DatasetBuilder.forText(options(maxLength), template)
                .withCache(cache)
                .build(List.of(data));
        assertEquals("Uone|Aa|", CharacterTemplate.show(dataset.sample(0)));
        assertEquals(2, dataset.size());
        assertEquals(2, dataset.summary().samples());
        return template.encoded();
    }

    private List<Path> cacheFiles() throws Exception {
        try (var files = Files.list(cache)) {
            return files.filter(f -> !f.endsWith("lock")).toList();
        }
    }

    @Test
    void secondBuildReadsTheCache() throws Exception {
        assertEquals(2, encodings(50, "t"));
        assertEquals(0, encodings(50, "t"));
        assertEquals(1, cacheFiles().size());
        Path moved = Files.move(data, temp.resolve("moved.jsonl"));
        data = moved;
        assertEquals(0, encodings(50, "t"));
    }

    @Test
    void whateverChangesSamplesChangesTheKey() throws Exception {
        assertEquals(2, encodings(50, "t"));
        assertEquals(2, encodings(51, "t"));
        assertEquals(2, encodings(50, "u"));
        Files.writeString(data, LINE.formatted("one") + LINE.formatted("new"));
        assertEquals(2, encodings(50, "t"));
        assertEquals(4, cacheFiles().size());
    }

    @Test
    void cachedDatasetEqualsTheBuiltOne() throws Exception {
        DatasetBuilder builder =
                DatasetBuilder.forText(options(50), new CharacterTemplate()).withCache(cache);
        Dataset built = builder.build(List.of(data));
        Dataset read = builder.build(List.of(data));
        assertEquals(built.summary(), read.summary());
        assertArrayEquals(built.offsets(), read.offsets());
        assertArrayEquals(built.ids(), read.ids());
        assertArrayEquals(built.labels(), read.labels());
        assertArrayEquals(built.truncated(), read.truncated());
    }

    @Test
    void everyDamagedByteAndEveryCutIsNoticedAndRepaired() throws Exception {
        encodings(50, "t");
        Path file = cacheFiles().get(0);
        byte[] whole = Files.readAllBytes(file);
        for (int i = 0; i < whole.length; i += 7) {
            byte[] damaged = whole.clone();
            damaged[i] ^= 0x10;
            Files.write(file, damaged);
            assertEquals(2, encodings(50, "t"), "byte " + i);
            assertArrayEquals(whole, Files.readAllBytes(file));
        }
        for (int length : new int[] {0, 7, 119, 120, 130, whole.length - 8, whole.length - 1}) {
            Files.write(file, Arrays.copyOf(whole, length));
            assertEquals(2, encodings(50, "t"), "length " + length);
        }
        assertEquals(0, encodings(50, "t"));
    }

    @Test
    void largeDatasetsSurviveTheRoundTrip() throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 5000; i++) {
            lines.append(LINE.formatted("question " + i));
        }
        Files.writeString(data, lines);
        DatasetBuilder builder =
                DatasetBuilder.forText(options(50), new CharacterTemplate()).withCache(cache);
        Dataset built = builder.build(List.of(data));
        Dataset read = builder.build(List.of(data));
        assertArrayEquals(built.ids(), read.ids());
        assertEquals("Uquestion 4999|Aa|", CharacterTemplate.show(read.sample(4999)));
    }

    @Test
    void errorsAreNotCached() throws Exception {
        Files.writeString(data, "{}\n");
        DatasetBuilder builder =
                DatasetBuilder.forText(options(50), new CharacterTemplate()).withCache(cache);
        assertThrows(DataException.class, () -> builder.build(List.of(data)));
        assertThrows(DataException.class, () -> builder.build(List.of(data)));
        assertEquals(0, cacheFiles().size());
    }

    @Test
    void cacheThatCannotBeWrittenIsNoError() throws Exception {
        Files.writeString(temp.resolve("file"), "in the way");
        cache = temp.resolve("file/cache");
        assertEquals(2, encodings(50, "t"));
        cache = Files.createDirectory(
                temp.resolve("read-only"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("r-xr-xr-x")));
        assertEquals(2, encodings(50, "t"));
    }

    @Test
    void oneOfManyBuildsAndTheOthersRead() throws Exception {
        CharacterTemplate template = new CharacterTemplate();
        DatasetBuilder builder = DatasetBuilder.forText(options(50), template).withCache(cache);
        ExecutorService pool = Executors.newFixedThreadPool(8);
        try {
            List<Callable<Dataset>> tasks = Collections.nCopies(8, () -> builder.build(List.of(data)));
            List<Dataset> built = new ArrayList<>();
            for (Future<Dataset> future : pool.invokeAll(tasks)) {
                built.add(future.get());
            }
            assertEquals(2, template.encoded());
            built.forEach(d -> assertArrayEquals(built.get(0).ids(), d.ids()));
        } finally {
            pool.shutdownNow();
        }
    }
}
