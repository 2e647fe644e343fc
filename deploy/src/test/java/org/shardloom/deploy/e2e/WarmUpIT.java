package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What the build records classes from: a run of its own, of which nothing is left. */
class WarmUpIT {
    @TempDir
    Path directory;

    @Test
    @Timeout(value = 120, unit = TimeUnit.SECONDS)
    void itTrainsAndAnswersAndLeavesNothing() throws Exception {
        try (CleanRoom room = new CleanRoom(directory)) {
            Path state = directory.resolve("state");
            Path target = Commands.ROOT.resolve("deploy/target");
            assertTrue(Files.exists(target.resolve("shardloom.jsa")), "the build has recorded classes");
            assertFalse(Files.exists(target.resolve("warm-up")), "and removed what it needed for that");
            String printed = room.startIn(List.of("env", "XDG_STATE_HOME=" + state), "shardloom", "warm-up")
                    .await(CleanRoom.LIMIT)
                    .expect(0)
                    .output();
            assertTrue(printed.contains("done: 1 steps"), printed);
            assertTrue(Files.exists(state.resolve("shardloom/last-run")), "not the user's");
            room.assertNoProcesses();
            try (Stream<Path> left = Files.list(directory.resolve("tmp"))) {
                assertEquals(List.of(), left.toList());
            }
        }
    }
}
