package org.shardloom.deploy.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is left of coordinators that are gone, and of those that are not. */
@Timeout(30)
class RunFileTest {
    private static final Set<String> ALL =
            Set.of(".lock", "checkpoint-4.replaced", "checkpoint-6.writing", "run.json", "run.secret");

    @TempDir
    Path out;

    private RunFile own;

    @BeforeEach
    void leave() throws IOException {
        own = RunFile.ofThisProcess(out, 1234, "token", "127.0.0.1:25520");
        for (String file : new String[] {".lock", "run.json", "run.secret"}) {
            Files.writeString(out.resolve(file), "{}");
        }
        Files.createDirectory(out.resolve("checkpoint-4.replaced"));
        Files.createDirectory(out.resolve("checkpoint-6.writing"));
    }

    private Set<String> names() throws IOException {
        try (Stream<Path> entries = Files.list(out)) {
            return entries.map(p -> p.getFileName().toString()).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    private RunFile of(String host, long pid, long startedMillis) {
        return new RunFile(out, host, pid, startedMillis, own.port(), own.token(), own.join());
    }

    @Test
    void aCoordinatorThatIsThereIsLeftAlone() throws IOException {
        assertTrue(own.isOfThisHost());
        assertEquals(Optional.of(ProcessHandle.current()), own.process());
        own.cleanUp();
        assertEquals(ALL, names());
        assertFalse(of(own.host() + "x", own.pid(), own.startedMillis()).isOfThisHost());
    }

    @Test
    void whatAKilledOneLeftIsRemovedAndItsCheckpointIsPutRight() throws Exception {
        Process killed = new ProcessBuilder("true").start();
        killed.waitFor();
        RunFile gone = of(own.host(), killed.pid(), own.startedMillis());
        assertEquals(Optional.empty(), gone.process());
        gone.cleanUp();
        assertEquals(Set.of(".lock", "checkpoint-4"), names());
        gone.cleanUp();
    }

    @Test
    void anotherProcessOfTheSameNumberIsNotTheCoordinator() throws IOException {
        RunFile reused = of(own.host(), own.pid(), own.startedMillis() - 60_000);
        assertEquals(Optional.empty(), reused.process());
        reused.cleanUp();
        assertEquals(Set.of(".lock", "checkpoint-4"), names());
    }

    @Test
    void aRunThatHasBegunMeanwhileIsLeftAlone() throws IOException {
        OutputLock lock = OutputLock.tryTake(out).orElseThrow();
        RunFile gone = of(own.host(), own.pid(), own.startedMillis() - 60_000);
        gone.cleanUp();
        OutputLock.heal(out);
        assertEquals(ALL, names());
        assertTrue(OutputLock.tryTake(out).isEmpty());
        lock.close();
        OutputLock.heal(out);
        assertEquals(Set.of(".lock", "checkpoint-4", "run.json", "run.secret"), names());
    }

    @Test
    void aDirectoryInWhichNoRunEverWasIsNotTouched() throws IOException {
        Files.delete(out.resolve(".lock"));
        OutputLock.heal(out);
        OutputLock.heal(out.resolve("absent"));
        assertEquals(4, names().size());
    }
}
