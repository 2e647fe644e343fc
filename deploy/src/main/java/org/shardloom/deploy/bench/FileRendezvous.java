package org.shardloom.deploy.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Rendezvous;

/** Processes of one host meet through files in a directory: each offer is a file that appears whole. */
final class FileRendezvous implements Rendezvous {
    private static final long POLL_MS = 2;
    private final Path directory;
    private final int rank;
    private final int size;
    private final Duration limit;

    /**
     * The meeting place of one group.
     *
     * @param directory that the ranks share
     * @param limit after which a rank that has not come is given up
     */
    FileRendezvous(Path directory, int rank, int size, Duration limit) {
        this.directory = directory;
        this.rank = rank;
        this.size = size;
        this.limit = limit;
    }

    @Override
    public List<byte[]> exchange(String key, byte[] offer) {
        long deadline = System.nanoTime() + limit.toNanos();
        try {
            Path temporary = Files.write(file(key, rank).resolveSibling("offering-" + rank), offer);
            Files.move(temporary, file(key, rank), StandardCopyOption.ATOMIC_MOVE);
            List<byte[]> offers = new ArrayList<>();
            for (int r = 0; r < size; r++) {
                while (!Files.exists(file(key, r))) {
                    if (System.nanoTime() > deadline) {
                        throw new CollectiveException(
                                "rank " + r + " did not come to meet within " + limit.toSeconds() + " s");
                    }
                    Thread.sleep(POLL_MS);
                }
                offers.add(Files.readAllBytes(file(key, r)));
            }
            return offers;
        } catch (IOException e) {
            throw new UncheckedIOException("cannot meet in " + directory, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CollectiveException("interrupted while meeting the other ranks", e);
        }
    }

    private Path file(String key, int r) {
        return directory.resolve("offer-" + URLEncoder.encode(key, StandardCharsets.UTF_8) + "-" + r);
    }
}
