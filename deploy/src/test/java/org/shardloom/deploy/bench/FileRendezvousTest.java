package org.shardloom.deploy.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.collective.CollectiveException;

@Timeout(value = 30, unit = TimeUnit.SECONDS)
class FileRendezvousTest {
    @TempDir
    private Path directory;

    @Test
    void everyRankGetsEveryOfferByRank() {
        CompletableFuture<List<byte[]>> other = CompletableFuture.supplyAsync(
                () -> new FileRendezvous(directory, 1, 2, Duration.ofSeconds(10)).exchange("a/key", new byte[] {1}));
        List<byte[]> own =
                new FileRendezvous(directory, 0, 2, Duration.ofSeconds(10)).exchange("a/key", new byte[] {0});
        for (List<byte[]> offers : List.of(own, other.join())) {
            assertArrayEquals(new byte[] {0}, offers.get(0));
            assertArrayEquals(new byte[] {1}, offers.get(1));
        }
    }

    @Test
    void aRankThatDoesNotComeIsNamed() {
        FileRendezvous alone = new FileRendezvous(directory, 0, 2, Duration.ofMillis(50));
        CollectiveException e = assertThrows(CollectiveException.class, () -> alone.exchange("key", new byte[0]));
        assertTrue(e.getMessage().contains("rank 1"), e.getMessage());
    }
}
