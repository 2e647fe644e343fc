package org.shardloom.protocol.disk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class WholeDirectoryTest {
    @TempDir
    Path root;

    private Path target;

    @BeforeEach
    void name() {
        target = root.resolve("it");
    }

    private Path write(Path directory, String content) throws IOException {
        Files.createDirectories(directory.resolve("deep"));
        Files.writeString(directory.resolve("deep/file"), content);
        return directory;
    }

    private void publish(String content) throws IOException {
        write(WholeDirectory.clear(target), content);
        WholeDirectory.publish(target);
    }

    private String content() throws IOException {
        return Files.readString(target.resolve("deep/file"));
    }

    private Set<String> names() throws IOException {
        try (Stream<Path> entries = Files.list(root)) {
            return entries.map(p -> p.getFileName().toString()).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @Test
    void theNameStandsForTheLastThatWasPublishedAndNothingElseIsLeft() throws IOException {
        for (String content : List.of("one", "two", "three")) {
            publish(content);
            assertEquals(content, content());
            assertEquals(Set.of("it"), names());
        }
    }

    /** What is left by who is killed after each of the renames and in the middle of each removal. */
    @Test
    void whereverTheWriterIsKilledTheNameStandsForTheOldOrTheNewOne() throws IOException {
        publish("old");
        write(WholeDirectory.temporary(target), "new");
        WholeDirectory.heal(target);
        assertEquals("old", content());

        Files.move(target, root.resolve("it.replaced"));
        WholeDirectory.heal(target);
        assertEquals("old", content());
        assertEquals(Set.of("it", "it.writing"), names());

        Files.move(target, root.resolve("it.replaced"));
        Files.move(root.resolve("it.writing"), target);
        WholeDirectory.heal(target);
        assertEquals("new", content());
        assertEquals(Set.of("it"), names());

        Files.createDirectory(root.resolve("it.replaced.removed.writing"));
        Files.createDirectory(root.resolve("it.replaced"));
        WholeDirectory.heal(target);
        assertEquals("new", content());
        assertEquals(Set.of("it"), names());
    }

    @Test
    void anAttemptAfterOneThatWasKilledBetweenTheRenamesReplacesTheOldOne() throws IOException {
        write(root.resolve("it.replaced"), "old");
        Path temporary = WholeDirectory.clear(target);
        assertEquals("old", content());
        write(temporary, "new");
        WholeDirectory.publish(target);
        assertEquals("new", content());
        assertEquals(Set.of("it"), names());
    }

    @Test
    void whatCannotBePublishedLeavesTheOldOne() throws IOException {
        publish("old");
        assertThrows(IOException.class, () -> WholeDirectory.publish(target));
        assertEquals("old", content());
        assertEquals(Set.of("it"), names());
    }

    @Test
    void removingTakesAllAndFollowsNoLinks() throws IOException {
        Path elsewhere = write(root.resolve("elsewhere"), "precious");
        publish("it");
        Files.createSymbolicLink(target.resolve("link"), elsewhere);
        Files.createDirectory(root.resolve("it.removed.writing"));
        WholeDirectory.remove(target);
        WholeDirectory.remove(target);
        assertEquals(Set.of("elsewhere"), names());
        assertTrue(Files.exists(elsewhere.resolve("deep/file")));
    }

    @Test
    void roomIsAskedForAndWhatAFullDiskSaysIsKnown() throws IOException {
        DiskSpace.require(root, 1, "a byte", root);
        NoSpaceException e = assertThrows(
                NoSpaceException.class, () -> DiskSpace.require(root, Long.MAX_VALUE / 2, "the model", target));
        assertTrue(e.getMessage().startsWith("no space for the model in " + target + ": "), e.getMessage());
        assertTrue(DiskSpace.isFull(e));
        assertTrue(DiskSpace.isFull(new IOException("No space left on device")));
        assertTrue(DiskSpace.isFull(new IOException("Disk quota exceeded")));
        assertFalse(DiskSpace.isFull(new IOException("Permission denied")));
        assertFalse(DiskSpace.isFull(new IOException()));
        assertFalse(DiskSpace.isFull(new IllegalStateException("no space")));
        IOException other = new IOException("Input/output error");
        assertEquals(other, DiskSpace.explained(other));
        assertTrue(DiskSpace.explained(new IOException("No space left on device")) instanceof NoSpaceException);
    }
}
