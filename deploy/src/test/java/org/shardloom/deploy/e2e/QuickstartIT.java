package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a newcomer types first. */
class QuickstartIT {
    @TempDir
    Path directory;

    @Test
    @Timeout(value = 900, unit = TimeUnit.SECONDS)
    void learnsItsTaskAndAnswersMostHeldOutQuestions() throws Exception {
        try (CleanRoom room = new CleanRoom(directory)) {
            String text = room.start(
                            "start.sh",
                            "--quickstart-dir",
                            directory.resolve("quickstart").toString())
                    .await(Duration.ofSeconds(880))
                    .expect(0)
                    .output();
            Matcher share =
                    Pattern.compile("Answered exactly: (\\d+) of (\\d+)").matcher(text);
            assertTrue(share.find(), text);
            assertEquals(200, Integer.parseInt(share.group(2)));
            assertTrue(Integer.parseInt(share.group(1)) > 100, text);
            room.assertNothingLeft(directory.resolve("quickstart/output"));
        }
    }
}
