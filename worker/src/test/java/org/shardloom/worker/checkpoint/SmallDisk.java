package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.shardloom.worker.weights.SharedFixtures;

/** A disk that is easily filled; the test is skipped, loudly, where none can be mounted. */
final class SmallDisk implements AutoCloseable {
    final Path path;

    private SmallDisk(Path path) {
        this.path = path;
    }

    /** A file system of that size, such as {@code 4m}, in a new folder. */
    static SmallDisk mount(Path folder, String size) throws Exception {
        Files.createDirectory(folder);
        if (!run("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", folder.toString())) {
            SharedFixtures.skip("a tmpfs cannot be mounted here, so no disk can be filled");
        }
        return new SmallDisk(folder);
    }

    /** What is in its root. */
    List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(path)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    @Override
    public void close() throws IOException {
        assertTrue(run("umount", path.toString()), path + " is still mounted");
    }

    private static boolean run(String... command) {
        try {
            return new ProcessBuilder(command)
                            .redirectErrorStream(true)
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                            .start()
                            .waitFor()
                    == 0;
        } catch (IOException e) {
            return false;
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
